//! One row log: its entries, and who has changed what last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Fence, RowEntryKind, RowLogPosition, RowLogRefusal, RowPart, Settled, TableFootprint};
use crate::metadata::{DdlLog, TokenId};
use crate::txn::{Life, TransactionName};
use crate::{NodeId, TableId};

/// Changes of keys that are remembered for certification. A transaction that
/// looked before the oldest of them is refused.
const REMEMBERED_KEYS: usize = 50_000;

/// What all members have applied is kept for a while, as long as there is no more
/// of it: for who reads the log, and for who comes back from an old state.
const KEPT_ENTRIES: usize = 100;
const KEPT_BYTES: usize = 1024 * 1024;

/// An entry that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Whose it is.
    pub transaction: TransactionName,
    /// What it changes here.
    pub part: Arc<RowPart>,
    /// How it stands.
    pub settled: Settled,
}

/// When a table was last changed, by whatever key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TableMarks {
    any: RowLogPosition,
    all: RowLogPosition,
}

/// One row log. Entries stay until every member has applied them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLog {
    name: String,
    tail: RowLogPosition,
    /// Entries up to here are gone.
    truncated: RowLogPosition,
    entries: BTreeMap<RowLogPosition, Accepted>,
    bytes: usize,
    /// The last entry that wrote a key, of those behind `forgotten`.
    last_writers: BTreeMap<u64, RowLogPosition>,
    /// The keys of each entry behind `forgotten`, and whose it is.
    written: BTreeMap<RowLogPosition, (TransactionName, Vec<u64>)>,
    /// Where the entries of each node's present life are, of those.
    accepted: BTreeMap<NodeId, (Life, BTreeMap<u64, RowLogPosition>)>,
    forgotten: RowLogPosition,
    tables: BTreeMap<TableId, TableMarks>,
    fences: BTreeMap<TableId, Fence>,
    applied: BTreeMap<NodeId, RowLogPosition>,
    troubles: BTreeMap<NodeId, String>,
}

impl RowLog {
    pub(super) fn new(name: String) -> Self {
        let start = RowLogPosition::default();
        RowLog {
            name,
            tail: start,
            truncated: start,
            entries: BTreeMap::new(),
            bytes: 0,
            last_writers: BTreeMap::new(),
            written: BTreeMap::new(),
            accepted: BTreeMap::new(),
            forgotten: start,
            tables: BTreeMap::new(),
            fences: BTreeMap::new(),
            applied: BTreeMap::new(),
            troubles: BTreeMap::new(),
        }
    }

    /// As the user called it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last entry, settled or not.
    pub fn tail(&self) -> RowLogPosition {
        self.tail
    }

    /// Entries up to here are gone: whoever has not applied them needs a copy.
    pub fn truncated(&self) -> RowLogPosition {
        self.truncated
    }

    /// How far a member has come.
    pub fn applied(&self, node: NodeId) -> RowLogPosition {
        self.applied.get(&node).copied().unwrap_or_default()
    }

    /// How far all members have come that have said so.
    pub fn all_applied(&self) -> impl Iterator<Item = (NodeId, RowLogPosition)> {
        self.applied.iter().map(|(node, position)| (*node, *position))
    }

    /// Members that do not go on, and why.
    pub fn troubles(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.troubles.iter().map(|(node, message)| (*node, message.as_str()))
    }

    /// Why a member does not go on.
    pub fn trouble(&self, node: NodeId) -> Option<&str> {
        self.troubles.get(&node).map(String::as_str)
    }

    /// Entries that are kept, and the size of their changes.
    pub fn kept(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// The entry at a position.
    pub fn entry(&self, position: RowLogPosition) -> Option<&Accepted> {
        self.entries.get(&position)
    }

    /// Entries behind a position, in order.
    pub fn after(
        &self,
        position: RowLogPosition,
    ) -> impl Iterator<Item = (RowLogPosition, &Accepted)> {
        self.entries.range(position.next()..).map(|(position, accepted)| (*position, accepted))
    }

    /// Where a transaction's entry was accepted, if it is not forgotten. Only
    /// who lives asks again.
    pub(super) fn position_of(&self, transaction: TransactionName) -> Option<RowLogPosition> {
        let (life, positions) = self.accepted.get(&transaction.coordinator)?;
        let is_present = *life == transaction.life;
        positions.get(&transaction.xid).copied().filter(|_| is_present)
    }

    fn note_accepted(&mut self, transaction: TransactionName, position: RowLogPosition) {
        let TransactionName { coordinator, life, xid } = transaction;
        let (known, positions) =
            self.accepted.entry(coordinator).or_insert_with(|| (life, BTreeMap::new()));
        if *known < life {
            *known = life;
            positions.clear();
        }
        if *known == life {
            positions.insert(xid, position);
        }
    }

    /// Whether an entry may be accepted: nothing that it depends on has changed.
    pub(super) fn certify(&self, part: &RowPart, kind: RowEntryKind) -> Result<(), RowLogRefusal> {
        for table in &part.footprint.tables {
            let id = table.table;
            if self.fences.get(&id).is_some_and(|fence| !fence.admits(table.shape, kind)) {
                return Err(RowLogRefusal::SchemaChanged { table: id });
            }
            if let Some(position) = self.conflict(table)? {
                return Err(RowLogRefusal::Conflict {
                    log: self.name.clone(),
                    table: id,
                    position,
                });
            }
        }
        Ok(())
    }

    /// An entry that changed what the transaction depends on after it looked.
    fn conflict(&self, table: &TableFootprint) -> Result<Option<RowLogPosition>, RowLogRefusal> {
        let marks = self.tables.get(&table.table).copied().unwrap_or_default();
        for base in table.all_read.iter().chain(&table.all_written) {
            if marks.any > *base {
                return Ok(Some(marks.any));
            }
        }
        for (base, key) in table.keys() {
            if base < self.forgotten && marks.any > base {
                return Err(RowLogRefusal::TooOld { log: self.name.clone() });
            }
            let writer = self.last_writers.get(&key).copied();
            let last = writer.unwrap_or_default().max(marks.all);
            if last > base {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// Takes a certified entry in.
    pub(super) fn push(
        &mut self,
        transaction: TransactionName,
        kind: RowEntryKind,
        part: RowPart,
    ) -> RowLogPosition {
        let position = self.tail.next();
        self.tail = position;
        let mut keys = BTreeSet::new();
        for table in part.footprint.tables.iter().filter(|table| table.writes()) {
            let marks = self.tables.entry(table.table).or_default();
            marks.any = position;
            if table.all_written.is_some() {
                marks.all = position;
            }
            keys.extend(table.keys().map(|(_, key)| key));
        }
        for key in &keys {
            self.last_writers.insert(*key, position);
        }
        self.written.insert(position, (transaction, keys.into_iter().collect()));
        self.note_accepted(transaction, position);
        self.forget_keys();
        self.bytes += part.changes.0.len();
        let settled = match kind {
            RowEntryKind::Complete => Settled::Committed,
            RowEntryKind::Intent => Settled::Pending,
        };
        self.entries.insert(position, Accepted { transaction, part: Arc::new(part), settled });
        position
    }

    /// Forgets the oldest keys if there are too many.
    fn forget_keys(&mut self) {
        while self.last_writers.len() > REMEMBERED_KEYS || self.written.len() > REMEMBERED_KEYS {
            let Some((position, (whose, keys))) = self.written.pop_first() else { return };
            if self.position_of(whose) == Some(position)
                && let Some((_, positions)) = self.accepted.get_mut(&whose.coordinator)
            {
                positions.remove(&whose.xid);
            }
            for key in keys {
                if self.last_writers.get(&key) == Some(&position) {
                    self.last_writers.remove(&key);
                }
            }
            self.forgotten = position;
        }
    }

    /// Enters how an intent ended.
    pub(super) fn settle(&mut self, position: RowLogPosition, is_committed: bool) {
        let Some(accepted) = self.entries.get_mut(&position) else { return };
        if is_committed {
            accepted.settled = Settled::Committed;
            return;
        }
        accepted.settled = Settled::Aborted;
        // Nobody will make its changes.
        let mut bare = (*accepted.part).clone();
        self.bytes -= std::mem::take(&mut bare.changes.0).len();
        accepted.part = Arc::new(bare);
    }

    /// Nothing about the table is accepted while the change goes on.
    pub(super) fn fence(&mut self, table: TableId, token: TokenId) {
        let fence = self.fences.entry(table).or_default();
        fence.token = Some(token);
    }

    pub(super) fn note_applied(&mut self, node: NodeId, position: RowLogPosition) {
        let reached = self.applied.entry(node).or_default();
        *reached = position.min(self.tail).max(*reached);
    }

    pub(super) fn note_trouble(&mut self, node: NodeId, message: Option<String>) {
        match message {
            Some(message) => self.troubles.insert(node, message),
            None => self.troubles.remove(&node),
        };
    }

    /// Takes in how changes of the schema have ended.
    pub(super) fn settle_fences(&mut self, ddl: &DdlLog) {
        self.fences.values_mut().for_each(|fence| fence.settle(ddl));
    }

    /// Forgets members that are none any more, and entries that all have.
    pub(super) fn follow(&mut self, members: &[NodeId]) {
        self.applied.retain(|node, _| members.contains(node));
        self.troubles.retain(|node, _| members.contains(node));
        let Some(slowest) = members.iter().map(|node| self.applied(*node)).min() else { return };
        while self.truncated < slowest
            && (self.entries.len() > KEPT_ENTRIES || self.bytes > KEPT_BYTES)
            && self.drop_first()
        {}
    }

    /// Lets go of the oldest entry, unless nobody knows what becomes of it.
    pub(super) fn drop_first(&mut self) -> bool {
        let Some(first) = self.entries.first_entry() else { return false };
        if first.get().settled == Settled::Pending {
            return false;
        }
        self.truncated = *first.key();
        self.bytes -= first.remove().part.changes.0.len();
        true
    }
}
