//! Whatever is proposed in whatever order: no token is honoured twice, and a
//! decision, once made, stays.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::NodeId;
use crate::txn::Life;

const MEMBERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

fn commands() -> impl Strategy<Value = Vec<DdlCommand>> {
    let node = || (1u32..=3).prop_map(NodeId);
    let token = || (1u64..=12).prop_map(TokenId);
    let kind = prop_oneof![Just(EntryKind::Complete), Just(EntryKind::Intent)];
    let command = prop_oneof![
        4 => (node(), 0u64..4, 0u64..3).prop_map(|(node, life, request)| {
            DdlCommand::TakeToken { holder: TokenHolder { node, life: Life(life), request } }
        }),
        1 => token().prop_map(|token| DdlCommand::RenewToken { token }),
        1 => token().prop_map(|token| DdlCommand::GiveUpToken { token }),
        1 => (token(), 0u64..2)
            .prop_map(|(token, renewals)| DdlCommand::ExpireToken { token, renewals }),
        1 => (node(), 0u64..4)
            .prop_map(|(node, life)| DdlCommand::BeginLife { node, life: Life(life) }),
        6 => (token(), kind)
            .prop_map(|(token, kind)| DdlCommand::Append(DdlEntry::new(token, kind, 0, vec![]))),
        2 => (token(), node(), any::<bool>())
            .prop_map(|(token, by, is_committed)| DdlCommand::Settle { token, by, is_committed }),
        2 => (node(), 0u64..12).prop_map(|(node, position)| {
            DdlCommand::NoteApplied { node, position: DdlPosition(position) }
        }),
    ];
    prop::collection::vec(command, 0..120)
}

proptest! {
    #[test]
    fn no_token_is_honoured_twice_and_decisions_stay(commands in commands()) {
        let mut log = DdlLog::default();
        let (mut granted, mut honoured) = (BTreeSet::new(), BTreeMap::new());
        let mut fates = BTreeMap::new();
        for command in commands {
            let (before, asked) = (log.clone(), command.clone());
            let answer = log.apply(command, &MEMBERS);
            match (asked, answer) {
                (_, Err(_)) => prop_assert_eq!(&log, &before),
                (DdlCommand::TakeToken { .. }, Ok(Some(DdlAnswer::Granted { token, after }))) => {
                    prop_assert!(before.pending().is_none());
                    prop_assert_eq!(after, log.tail());
                    let is_again = before.token().is_some_and(|held| held.id == token);
                    prop_assert!(is_again || granted.iter().all(|given| *given < token));
                    granted.insert(token);
                }
                (DdlCommand::Append(entry), Ok(Some(DdlAnswer::Accepted { position }))) => {
                    if before.tail() == log.tail() {
                        // Told again.
                        prop_assert_eq!(honoured.get(&entry.token), Some(&position));
                    } else {
                        let held = before.token().map(|held| held.id);
                        prop_assert_eq!(held, Some(entry.token));
                        prop_assert!(honoured.insert(entry.token, position).is_none());
                        prop_assert_eq!(position.0, before.tail().position.0 + 1);
                    }
                }
                _ => prop_assert_eq!(before.tail(), log.tail()),
            }
            for token in &granted {
                let fate = log.fate(*token);
                let is_kept = honoured.get(token)
                    .is_none_or(|position| MEMBERS.iter().any(|node| log.applied(*node) < *position));
                match fates.get(token) {
                    // Members that have all applied it ask no more.
                    Some(known) if is_kept => prop_assert_eq!(known, &fate),
                    _ if fate != Fate::Open && is_kept => {
                        fates.insert(*token, fate);
                    }
                    _ => {}
                }
            }
        }
    }
}
