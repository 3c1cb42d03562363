//! All row logs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    MAX_ENTRY_BYTES, RowEntry, RowEntryKind, RowLog, RowLogAnswer, RowLogCommand, RowLogId,
    RowLogPosition, RowLogRefusal, Settled,
};
use crate::NodeId;
use crate::metadata::{DdlLog, Metadata, NodeState, TokenId};
use crate::txn::TransactionName;

/// Each has a worker on every node while it is in use.
pub const MAX_ROW_LOGS: usize = 64;

/// Row images that are kept for members that have not applied them, all logs
/// together. They travel in snapshots of the metadata log. Beyond it the oldest
/// go, and whoever needed them gets a copy of the tables.
const KEPT_BYTES: usize = 16 * 1024 * 1024;
/// And entries of one log.
const KEPT_ENTRIES: usize = 20_000;

/// All row logs, as far as the metadata log has decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLogs {
    last_id: RowLogId,
    logs: BTreeMap<RowLogId, RowLog>,
    /// Intents that are not settled, and where they are.
    pending: Vec<(TransactionName, Vec<(RowLogId, RowLogPosition)>)>,
}

impl RowLogs {
    /// All logs, by id.
    pub fn all(&self) -> impl Iterator<Item = (RowLogId, &RowLog)> {
        self.logs.iter().map(|(id, log)| (*id, log))
    }

    /// One log.
    pub fn get(&self, id: RowLogId) -> Option<&RowLog> {
        self.logs.get(&id)
    }

    /// The log of that name.
    pub fn named(&self, name: &str) -> Option<(RowLogId, &RowLog)> {
        self.all().find(|(_, log)| log.name() == name)
    }

    /// Intents of a node that are not settled.
    pub fn pending_of(&self, node: NodeId) -> impl Iterator<Item = TransactionName> {
        let theirs = self.pending.iter().filter(move |(whose, _)| whose.coordinator == node);
        theirs.map(|(transaction, _)| *transaction)
    }

    /// Applies a command; a refusal leaves everything as it was. `metadata` is
    /// what the same log has decided about everything else.
    pub fn apply(
        &mut self,
        command: RowLogCommand,
        metadata: &Metadata,
    ) -> Result<Option<RowLogAnswer>, RowLogRefusal> {
        match command {
            RowLogCommand::Add { name } => self.add(name).map(Some),
            RowLogCommand::Remove { log } => {
                self.logs.remove(&log).ok_or(RowLogRefusal::UnknownLog { log })?;
                Ok(None)
            }
            RowLogCommand::Append(entry) => self.append(entry).map(Some),
            RowLogCommand::Settle { transaction, by, is_committed } => {
                let is_member = |node| metadata.node(node).is_some();
                self.settle(transaction, by, is_committed, is_member)?;
                Ok(None)
            }
            RowLogCommand::NoteApplied { node, positions } => {
                for (log, position) in positions {
                    if let Some(log) = self.logs.get_mut(&log) {
                        log.note_applied(node, position);
                    }
                }
                self.follow(metadata);
                Ok(None)
            }
            RowLogCommand::NoteTrouble { node, log, message } => {
                let known = self.logs.get_mut(&log).ok_or(RowLogRefusal::UnknownLog { log })?;
                known.note_trouble(node, message);
                Ok(None)
            }
            RowLogCommand::Fence { log, table, token } => {
                if !is_current(metadata.ddl(), token) {
                    return Err(RowLogRefusal::TokenRevoked);
                }
                let known = self.logs.get_mut(&log).ok_or(RowLogRefusal::UnknownLog { log })?;
                known.fence(table, token);
                Ok(Some(RowLogAnswer::Fenced { tail: known.tail() }))
            }
        }
    }

    /// Takes in what has become of the members and of changes of the schema; to
    /// be called after each command that is about something else.
    pub fn follow(&mut self, metadata: &Metadata) {
        let holders = metadata.nodes().filter(|member| member.state != NodeState::Joining);
        let holders: Vec<_> = holders.map(|member| member.id).collect();
        for log in self.logs.values_mut() {
            // While the schema's own log still knows.
            log.settle_fences(metadata.ddl());
            log.follow(&holders);
        }
    }

    fn add(&mut self, name: String) -> Result<RowLogAnswer, RowLogRefusal> {
        if self.named(&name).is_some() {
            return Err(RowLogRefusal::NameTaken { name });
        }
        if self.logs.len() >= MAX_ROW_LOGS {
            return Err(RowLogRefusal::TooMany);
        }
        self.last_id = RowLogId(self.last_id.0 + 1);
        self.logs.insert(self.last_id, RowLog::new(name));
        Ok(RowLogAnswer::Added { log: self.last_id })
    }

    fn append(&mut self, entry: RowEntry) -> Result<RowLogAnswer, RowLogRefusal> {
        let transaction = entry.transaction;
        if let Some(positions) = self.accepted(&entry) {
            return Ok(RowLogAnswer::Accepted { positions });
        }
        if entry.size() > MAX_ENTRY_BYTES {
            return Err(RowLogRefusal::TooLarge);
        }
        for part in &entry.parts {
            let log = part.log;
            let known = self.logs.get(&log).ok_or(RowLogRefusal::UnknownLog { log })?;
            known.certify(part, entry.kind)?;
        }
        let mut positions = Vec::with_capacity(entry.parts.len());
        for part in entry.parts {
            let id = part.log;
            if let Some(log) = self.logs.get_mut(&id) {
                positions.push((id, log.push(transaction, entry.kind, part)));
            }
        }
        if entry.kind == RowEntryKind::Intent {
            self.pending.push((transaction, positions.clone()));
        }
        self.keep_small();
        Ok(RowLogAnswer::Accepted { positions })
    }

    /// Where an entry is that was accepted before.
    fn accepted(&self, entry: &RowEntry) -> Option<Vec<(RowLogId, RowLogPosition)>> {
        let position = |log| self.logs.get(&log)?.position_of(entry.transaction);
        entry.parts.iter().map(|part| Some((part.log, position(part.log)?))).collect()
    }

    fn settle(
        &mut self,
        transaction: TransactionName,
        by: NodeId,
        is_committed: bool,
        is_member: impl Fn(NodeId) -> bool,
    ) -> Result<(), RowLogRefusal> {
        let Some(at) = self.pending.iter().position(|(whose, _)| *whose == transaction) else {
            return self.check_settled(transaction, is_committed);
        };
        if by != transaction.coordinator && is_member(transaction.coordinator) {
            return Err(RowLogRefusal::NotYours { node: by });
        }
        let (_, positions) = self.pending.remove(at);
        for (log, position) in positions {
            if let Some(log) = self.logs.get_mut(&log) {
                log.settle(position, is_committed);
            }
        }
        Ok(())
    }

    /// Told again, it must be the same.
    fn check_settled(
        &self,
        transaction: TransactionName,
        is_committed: bool,
    ) -> Result<(), RowLogRefusal> {
        let wanted = if is_committed { Settled::Committed } else { Settled::Aborted };
        let mut entries =
            self.logs.values().filter_map(|log| log.entry(log.position_of(transaction)?));
        match entries.any(|accepted| accepted.settled != wanted) {
            true => Err(RowLogRefusal::SettledOtherwise),
            false => Ok(()),
        }
    }

    /// Lets go of entries that some member has not applied, if there are too
    /// many: the log must not grow with the time that a node is away.
    fn keep_small(&mut self) {
        for log in self.logs.values_mut() {
            while log.kept().0 > KEPT_ENTRIES && log.drop_first() {}
        }
        while self.logs.values().map(|log| log.kept().1).sum::<usize>() > KEPT_BYTES {
            let largest = self.logs.values_mut().max_by_key(|log| log.kept().1);
            if !largest.is_some_and(RowLog::drop_first) {
                return;
            }
        }
    }
}

fn is_current(ddl: &DdlLog, token: TokenId) -> bool {
    ddl.token().is_some_and(|current| current.id == token)
}
