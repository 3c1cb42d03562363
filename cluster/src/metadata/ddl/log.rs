//! The state that the commands drive.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    DdlAnswer, DdlCommand, DdlEntry, DdlPosition, DdlRefusal, DdlTail, EntryKind, Token,
    TokenHolder, TokenId,
};
use crate::NodeId;
use crate::txn::Life;

/// How an accepted entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// An intent whose transaction has not ended.
    Pending,
    /// It is to be on every node.
    Committed,
    /// An intent whose transaction was rolled back.
    Aborted,
}

/// An entry that the log has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// What it says.
    pub entry: Arc<DdlEntry>,
    /// Whose it is.
    pub coordinator: NodeId,
    /// How it stands.
    pub settlement: Settlement,
}

/// What is to become of the prepared parts of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Nothing yet.
    Open,
    /// Committed, when the queue has reached the entry.
    Commit(DdlPosition),
    /// Never: the token is void and nothing was accepted under it.
    Void,
}

/// Managed DDL as far as the log has decided. Entries stay until every member
/// has applied them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DdlLog {
    /// Numbers up to this one have been given.
    last_token: TokenId,
    current: Option<Token>,
    entries: BTreeMap<DdlPosition, Accepted>,
    /// At most one: no token is granted meanwhile.
    pending: Option<DdlPosition>,
    tail: DdlTail,
    applied: BTreeMap<NodeId, DdlPosition>,
}

impl DdlLog {
    /// The token that is held.
    pub fn token(&self) -> Option<Token> {
        self.current
    }

    /// The intent that has not been settled.
    pub fn pending(&self) -> Option<(DdlPosition, &Accepted)> {
        let position = self.pending?;
        Some((position, self.entries.get(&position)?))
    }

    /// The last entry.
    pub fn tail(&self) -> DdlTail {
        self.tail
    }

    /// The first entry behind a position.
    pub fn after(&self, position: DdlPosition) -> Option<(DdlPosition, &Accepted)> {
        let next = DdlPosition(position.0 + 1);
        self.entries.range(next..).next().map(|(position, accepted)| (*position, accepted))
    }

    /// How many entries are kept.
    pub fn kept(&self) -> usize {
        self.entries.len()
    }

    /// How far a member has come.
    pub fn applied(&self, node: NodeId) -> DdlPosition {
        self.applied.get(&node).copied().unwrap_or_default()
    }

    /// What becomes of a transaction. Final unless it is open.
    pub fn fate(&self, token: TokenId) -> Fate {
        if token > self.last_token || self.current.is_some_and(|current| current.id == token) {
            return Fate::Open;
        }
        match self.accepted(token) {
            None => Fate::Void,
            Some((position, accepted)) => match accepted.settlement {
                Settlement::Pending => Fate::Open,
                Settlement::Committed => Fate::Commit(position),
                Settlement::Aborted => Fate::Void,
            },
        }
    }

    /// Applies a command. `members` are those that have the schema, up or down.
    pub(in crate::metadata) fn apply(
        &mut self,
        command: DdlCommand,
        members: &[NodeId],
    ) -> Result<Option<DdlAnswer>, DdlRefusal> {
        match command {
            DdlCommand::TakeToken { holder } => self.take(holder).map(Some),
            DdlCommand::RenewToken { token } => {
                let current = self.current.as_mut().filter(|current| current.id == token);
                current.ok_or(DdlRefusal::TokenRevoked)?.renewals += 1;
                Ok(None)
            }
            DdlCommand::GiveUpToken { token } => {
                self.revoke(|current| current.id == token);
                Ok(None)
            }
            DdlCommand::ExpireToken { token, renewals } => {
                self.revoke(|current| (current.id, current.renewals) == (token, renewals));
                Ok(None)
            }
            DdlCommand::BeginLife { node, life } => {
                self.begin_life(node, life);
                Ok(None)
            }
            DdlCommand::Append(entry) => self.append(entry).map(Some),
            DdlCommand::Settle { token, by, is_committed } => {
                self.settle(token, by, is_committed, members).map(|()| None)
            }
            DdlCommand::NoteApplied { node, position } => {
                self.note_applied(node, position);
                self.purge(members);
                Ok(None)
            }
        }
    }

    /// What earlier lives of the node's server held is void.
    pub(in crate::metadata) fn begin_life(&mut self, node: NodeId, life: Life) {
        self.revoke(|current| current.holder.node == node && current.holder.life < life);
    }

    /// The node holds nothing any more: it is down or no member.
    pub(in crate::metadata) fn revoke_of(&mut self, node: NodeId) {
        self.revoke(|current| current.holder.node == node);
    }

    /// The node is no member: nothing is kept for it.
    pub(in crate::metadata) fn forget(&mut self, node: NodeId, members: &[NodeId]) {
        self.revoke_of(node);
        self.applied.remove(&node);
        self.purge(members);
    }

    /// The node got the schema as it is under the token that is current.
    pub(in crate::metadata) fn start_at_tail(
        &mut self,
        node: NodeId,
        token: TokenId,
    ) -> Result<(), DdlRefusal> {
        if self.current.is_none_or(|current| current.id != token) {
            return Err(DdlRefusal::TokenRevoked);
        }
        self.applied.insert(node, self.tail.position);
        Ok(())
    }

    fn take(&mut self, holder: TokenHolder) -> Result<DdlAnswer, DdlRefusal> {
        if let Some((_, intent)) = self.pending() {
            return Err(DdlRefusal::IntentPending { node: intent.coordinator });
        }
        let after = self.tail;
        match self.current {
            Some(current) if current.holder == holder => {
                Ok(DdlAnswer::Granted { token: current.id, after })
            }
            Some(current) => Err(DdlRefusal::TokenHeld { holder: current.holder }),
            None => {
                self.last_token = TokenId(self.last_token.0 + 1);
                let token = self.last_token;
                self.current = Some(Token { id: token, holder, renewals: 0 });
                Ok(DdlAnswer::Granted { token, after })
            }
        }
    }

    fn revoke(&mut self, is_meant: impl Fn(&Token) -> bool) {
        self.current = self.current.take().filter(|current| !is_meant(current));
    }

    fn append(&mut self, entry: DdlEntry) -> Result<DdlAnswer, DdlRefusal> {
        if !entry.is_intact() {
            return Err(DdlRefusal::Damaged);
        }
        if let Some((position, _)) = self.accepted(entry.token) {
            return Ok(DdlAnswer::Accepted { position });
        }
        let is_current = |current: &Token| current.id == entry.token;
        let Some(current) = self.current.filter(is_current) else {
            return Err(DdlRefusal::TokenRevoked);
        };
        self.current = None;
        let position = DdlPosition(self.tail.position.0 + 1);
        self.tail = DdlTail { position, token: entry.token };
        let settlement = match entry.kind {
            EntryKind::Complete => Settlement::Committed,
            EntryKind::Intent => {
                self.pending = Some(position);
                Settlement::Pending
            }
        };
        let coordinator = current.holder.node;
        let accepted = Accepted { entry: Arc::new(entry), coordinator, settlement };
        self.entries.insert(position, accepted);
        Ok(DdlAnswer::Accepted { position })
    }

    fn settle(
        &mut self,
        token: TokenId,
        by: NodeId,
        is_committed: bool,
        members: &[NodeId],
    ) -> Result<(), DdlRefusal> {
        let wanted = if is_committed { Settlement::Committed } else { Settlement::Aborted };
        let found = self.entries.values_mut().find(|accepted| accepted.entry.token == token);
        let Some(accepted) = found else { return Err(DdlRefusal::TokenRevoked) };
        match accepted.settlement {
            Settlement::Pending => {
                if by != accepted.coordinator && members.contains(&accepted.coordinator) {
                    return Err(DdlRefusal::NotYours { node: by });
                }
                accepted.settlement = wanted;
                self.pending = None;
                Ok(())
            }
            settled if settled == wanted => Ok(()),
            _ => Err(DdlRefusal::SettledOtherwise),
        }
    }

    fn accepted(&self, token: TokenId) -> Option<(DdlPosition, &Accepted)> {
        // Those asked about are young.
        let found = self.entries.iter().rev().find(|(_, accepted)| accepted.entry.token == token);
        found.map(|(position, accepted)| (*position, accepted))
    }

    fn note_applied(&mut self, node: NodeId, position: DdlPosition) {
        let reached = self.applied.entry(node).or_default();
        *reached = position.min(self.tail.position).max(*reached);
    }

    fn purge(&mut self, members: &[NodeId]) {
        let slowest = members.iter().map(|node| self.applied(*node)).min();
        let Some(slowest) = slowest else { return };
        while let Some(first) = self.entries.first_entry() {
            if *first.key() > slowest || first.get().settlement == Settlement::Pending {
                return;
            }
            first.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn holder(node: u32, request: u64) -> TokenHolder {
        TokenHolder { node: NodeId(node), life: Life(10), request }
    }

    fn entry(token: TokenId, kind: EntryKind) -> DdlEntry {
        DdlEntry::new(token, kind, 0, Vec::new())
    }

    fn take(log: &mut DdlLog, holder: TokenHolder) -> TokenId {
        match log.apply(DdlCommand::TakeToken { holder }, &MEMBERS) {
            Ok(Some(DdlAnswer::Granted { token, .. })) => token,
            other => panic!("{other:?}"),
        }
    }

    fn append(log: &mut DdlLog, token: TokenId) -> Result<Option<DdlAnswer>, DdlRefusal> {
        log.apply(DdlCommand::Append(entry(token, EntryKind::Complete)), &MEMBERS)
    }

    fn intend(log: &mut DdlLog, node: u32) -> TokenId {
        let token = take(log, holder(node, 1));
        let intent = DdlCommand::Append(entry(token, EntryKind::Intent));
        log.apply(intent, &MEMBERS).expect("its token is current");
        token
    }

    #[test]
    fn there_is_one_token_at_a_time() {
        let mut log = DdlLog::default();
        let first = take(&mut log, holder(1, 1));
        let second = log.apply(DdlCommand::TakeToken { holder: holder(2, 1) }, &MEMBERS);
        assert_eq!(second, Err(DdlRefusal::TokenHeld { holder: holder(1, 1) }));
        // A request that is repeated is answered with the same token.
        assert_eq!(take(&mut log, holder(1, 1)), first);
        log.apply(DdlCommand::GiveUpToken { token: first }, &MEMBERS).unwrap();
        assert!(take(&mut log, holder(2, 1)) > first);
    }

    #[test]
    fn an_entry_is_accepted_only_while_its_token_is_current_and_ends_it() {
        let mut log = DdlLog::default();
        let old = take(&mut log, holder(1, 1));
        log.apply(DdlCommand::ExpireToken { token: old, renewals: 0 }, &MEMBERS).unwrap();
        let new = take(&mut log, holder(2, 1));
        assert_eq!(append(&mut log, old), Err(DdlRefusal::TokenRevoked));
        assert_eq!(log.fate(old), Fate::Void);
        assert_eq!(log.fate(new), Fate::Open);
        let accepted = Ok(Some(DdlAnswer::Accepted { position: DdlPosition(1) }));
        assert_eq!(append(&mut log, new), accepted);
        assert_eq!(log.token(), None);
        // Told again, it is the same decision.
        assert_eq!(append(&mut log, new), accepted);
        assert_eq!(log.fate(new), Fate::Commit(DdlPosition(1)));
        assert_eq!(log.tail(), DdlTail { position: DdlPosition(1), token: new });
    }

    #[test]
    fn a_token_that_was_renewed_since_does_not_expire() {
        let mut log = DdlLog::default();
        let token = take(&mut log, holder(1, 1));
        log.apply(DdlCommand::RenewToken { token }, &MEMBERS).unwrap();
        log.apply(DdlCommand::ExpireToken { token, renewals: 0 }, &MEMBERS).unwrap();
        assert_eq!(log.token().map(|token| token.id), Some(token));
        log.apply(DdlCommand::ExpireToken { token, renewals: 1 }, &MEMBERS).unwrap();
        assert_eq!(log.token(), None);
    }

    #[test]
    fn a_restart_ends_what_earlier_lives_held_and_no_more() {
        let mut log = DdlLog::default();
        let token = take(&mut log, holder(1, 1));
        for (node, life) in [(2, 99), (1, 10)] {
            let (node, life) = (NodeId(node), Life(life));
            log.apply(DdlCommand::BeginLife { node, life }, &MEMBERS).unwrap();
            assert_eq!(log.token().map(|token| token.id), Some(token));
        }
        let (node, life) = (NodeId(1), Life(11));
        log.apply(DdlCommand::BeginLife { node, life }, &MEMBERS).unwrap();
        assert_eq!(log.token(), None);
    }

    #[test]
    fn a_token_that_was_never_given_is_open_not_void() {
        assert_eq!(DdlLog::default().fate(TokenId(1)), Fate::Open);
    }

    #[test]
    fn nobody_gets_the_token_while_an_intent_is_pending() {
        let mut log = DdlLog::default();
        let token = intend(&mut log, 1);
        assert_eq!(log.fate(token), Fate::Open);
        let asked = log.apply(DdlCommand::TakeToken { holder: holder(2, 1) }, &MEMBERS);
        assert_eq!(asked, Err(DdlRefusal::IntentPending { node: NodeId(1) }));
        let settle = |by| DdlCommand::Settle { token, by, is_committed: true };
        let foreign = log.apply(settle(NodeId(2)), &MEMBERS);
        assert_eq!(foreign, Err(DdlRefusal::NotYours { node: NodeId(2) }));
        log.apply(settle(NodeId(1)), &MEMBERS).unwrap();
        assert_eq!(log.fate(token), Fate::Commit(DdlPosition(1)));
        log.apply(settle(NodeId(1)), &MEMBERS).unwrap();
        let turned = DdlCommand::Settle { token, by: NodeId(1), is_committed: false };
        assert_eq!(log.apply(turned, &MEMBERS), Err(DdlRefusal::SettledOtherwise));
        take(&mut log, holder(2, 1));
    }

    #[test]
    fn an_intent_of_a_node_that_is_gone_is_settled_by_any() {
        let mut log = DdlLog::default();
        let token = intend(&mut log, 1);
        let settle = DdlCommand::Settle { token, by: NodeId(3), is_committed: false };
        log.apply(settle, &MEMBERS[1..]).unwrap();
        assert_eq!(log.fate(token), Fate::Void);
    }

    #[test]
    fn entries_are_kept_for_the_slowest_member() {
        let mut log = DdlLog::default();
        for request in 1..=3 {
            let token = take(&mut log, holder(1, request));
            append(&mut log, token).unwrap();
        }
        let mut note = |node, position| {
            let (node, position) = (NodeId(node), DdlPosition(position));
            log.apply(DdlCommand::NoteApplied { node, position }, &MEMBERS).unwrap();
            log.kept()
        };
        assert_eq!(note(1, 3), 3);
        assert_eq!(note(2, 3), 3);
        assert_eq!(note(3, 2), 1);
        // Positions do not go back, nor beyond the end.
        assert_eq!(note(3, 1), 1);
        assert_eq!(note(3, 900), 0);
        assert_eq!(log.applied(NodeId(3)), DdlPosition(3));
    }

    #[test]
    fn what_is_kept_for_a_removed_node_goes_with_it() {
        let mut log = DdlLog::default();
        let token = take(&mut log, holder(1, 1));
        append(&mut log, token).unwrap();
        for node in [NodeId(1), NodeId(2)] {
            let position = DdlPosition(1);
            log.apply(DdlCommand::NoteApplied { node, position }, &MEMBERS).unwrap();
        }
        assert_eq!(log.kept(), 1);
        log.forget(NodeId(3), &MEMBERS[..2]);
        assert_eq!(log.kept(), 0);
    }

    #[test]
    fn a_damaged_entry_is_refused() {
        let mut log = DdlLog::default();
        let token = take(&mut log, holder(1, 1));
        let damaged = DdlEntry { now: 1, ..entry(token, EntryKind::Complete) };
        let refused = log.apply(DdlCommand::Append(damaged), &MEMBERS);
        assert_eq!(refused, Err(DdlRefusal::Damaged));
    }
}
