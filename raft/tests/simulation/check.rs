//! What must hold, whatever happens.

use std::collections::BTreeMap;
use std::sync::Mutex;

use cluster::metadata::{DdlAnswer, DdlCommand, DdlPosition, MetadataCommand, Outcome, TokenId};
use openraft::EntryPayload;

use crate::runtime::Entry;

/// What was applied at each index, as the first node did it.
#[derive(Default)]
pub struct Ledger(Mutex<BTreeMap<u64, Line>>);

#[derive(Clone, PartialEq)]
struct Line {
    command: Option<MetadataCommand>,
    outcome: Outcome,
    told: String,
}

impl Ledger {
    /// Every node, in every life, applies the same at the same place.
    pub fn note(&self, node: u64, entry: &Entry, outcome: &Outcome) {
        let (command, told) = match &entry.payload {
            EntryPayload::Normal(command) => (Some(command.clone()), format!("{command:?}")),
            EntryPayload::Blank => (None, "blank".to_owned()),
            EntryPayload::Membership(members) => (None, format!("{members:?}")),
        };
        let line = Line { command, outcome: outcome.clone(), told };
        let mut lines = self.0.lock().expect("not poisoned");
        let index = entry.log_id.index;
        let known = lines.entry(index).or_insert_with(|| line.clone());
        assert!(
            *known == line,
            "node {node} applied {} with {outcome:?} at {index}, another node {} with {:?}",
            line.told,
            known.told,
            known.outcome
        );
    }

    /// What a client was told is what the log says.
    pub fn check_told(&self, index: u64, outcome: &Outcome) {
        let lines = self.0.lock().expect("not poisoned");
        let line = lines.get(&index).unwrap_or_else(|| panic!("nothing was applied at {index}"));
        assert!(line.outcome == *outcome, "a client was told {outcome:?} of {index}");
    }

    /// No token is honoured twice or after a later one was given, and each
    /// transaction has one decision.
    pub fn check_tokens(&self) {
        let mut last_granted = TokenId(0);
        let mut accepted = BTreeMap::<TokenId, DdlPosition>::new();
        for (index, line) in self.0.lock().expect("not poisoned").iter() {
            let Some(MetadataCommand::Ddl(command)) = &line.command else { continue };
            match (command, &line.outcome) {
                (DdlCommand::TakeToken { .. }, Outcome::Ddl(DdlAnswer::Granted { token, .. })) => {
                    assert!(*token >= last_granted, "token {token} was given again at {index}");
                    last_granted = *token;
                }
                (DdlCommand::Append(entry), Outcome::Ddl(DdlAnswer::Accepted { position })) => {
                    let first = *accepted.entry(entry.token).or_insert_with(|| {
                        let token = entry.token;
                        assert!(token == last_granted, "token {token} was outdated at {index}");
                        *position
                    });
                    assert!(first == *position, "two decisions, the second at {index}");
                }
                _ => {}
            }
        }
        let mut positions: Vec<_> = accepted.values().collect();
        positions.dedup();
        assert!(positions.len() == accepted.len(), "two transactions with one decision");
    }

    /// Everything, a line each.
    pub fn history(&self) -> String {
        let lines = self.0.lock().expect("not poisoned");
        lines.iter().map(|(at, line)| format!("{at} {} {:?}\n", line.told, line.outcome)).collect()
    }
}
