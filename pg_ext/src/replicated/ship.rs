//! Handing a statement's changes to the other nodes.
//!
//! They go as they were made, in the order in which they were made, and are
//! made there in that order. Where statements nest (a trigger of the table, or
//! a function of the statement, writes the table again) the inner one's changes
//! would leave first: then keys go, each with the row that has it now.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use cluster::replication::Change;
use cluster::{NodeId, TableId};
use fdw::ImageWriter;
use fdw::session::{Call, Calling, Everywhere};
use pgrx::prelude::*;

use super::compare::BATCH_BYTES;
use super::key::Key;
use super::{epoch, standing};
use crate::catalog::registry;
use crate::compat;
use crate::membership;
use crate::report::Report;
use crate::row_log;

/// Statements that have begun to write a table and not ended, and whether
/// another one has written it meanwhile.
#[derive(Default)]
struct Running {
    transaction: pg_sys::LocalTransactionId,
    tables: HashMap<pg_sys::Oid, (u32, bool)>,
}

thread_local! {
    static RUNNING: RefCell<Running> = RefCell::default();
}

/// A statement begins to write the table.
pub fn begin_statement(rel: pg_sys::Oid) {
    let transaction = compat::local_transaction_id();
    RUNNING.with_borrow_mut(|running| {
        if running.transaction != transaction {
            *running = Running { transaction, tables: HashMap::new() };
        }
        let (count, overlaps) = running.tables.entry(rel).or_default();
        *count += 1;
        *overlaps |= *count > 1;
    });
}

/// It has ended. Returns whether its changes overlap with another one's. One
/// that failed within a savepoint is never noted as ended: then they are taken
/// to overlap, which costs time and nothing else.
pub fn end_statement(rel: pg_sys::Oid) -> bool {
    RUNNING.with_borrow_mut(|running| {
        let Some((count, overlaps)) = running.tables.get_mut(&rel) else { return true };
        let overlapped = *overlaps;
        *count = count.saturating_sub(1);
        if *count == 0 {
            running.tables.remove(&rel);
        }
        overlapped
    })
}

/// After a statement has written: see [`super::triggers`].
///
/// # Safety
/// `data` is PostgreSQL's own, of an AFTER STATEMENT trigger with the transition
/// tables of its event.
pub unsafe fn after(data: *mut pg_sys::TriggerData) -> Result<(), Report> {
    // SAFETY: the caller's.
    unsafe {
        let relation = (*data).tg_relation;
        let rel = (*relation).rd_id;
        let Some(table) = registry()?.replicated_of(rel) else { return Ok(()) };
        if let Some(log) = table.log {
            return row_log::after(data, table, log);
        }
        let overlaps = end_statement(rel);
        let mut outgoing = Outgoing::to_others(table.table_id)?;
        if outgoing.nodes.is_empty() {
            return Ok(());
        }
        let key = Key::of(relation)?;
        let descriptor = (*relation).rd_att;
        let (old, new) = ((*data).tg_oldtable, (*data).tg_newtable);
        // An UPDATE that leaves keys as they are takes no row away.
        let takes_rows_away = match (old.is_null(), new.is_null()) {
            (_, true) => true,
            (true, false) => false,
            (false, false) => overlaps || changes_keys(descriptor, &key, old, new)?,
        };
        if takes_rows_away {
            standing::check_referrers(rel)?;
        }
        let mut writer = ImageWriter::new(descriptor, &key.columns);
        if old.is_null() && new.is_null() {
            writer.bytes.push(Change::Truncate.code());
        } else if overlaps {
            present_rows(relation, &key, [old, new], &mut writer, &mut |bytes| {
                outgoing.send(bytes)
            })?;
        } else {
            changes(descriptor, old, new, &mut writer, &mut |bytes| outgoing.send(bytes))?;
        }
        outgoing.send(&mut writer.bytes)?;
        writer.finish();
        outgoing.wait()
    }
}

/// Sends every row of a table as new. For a copy that is empty.
///
/// # Safety
/// `relation` is open and locked against writers.
pub unsafe fn all_rows(
    relation: pg_sys::Relation,
    key: &Key,
    send: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), Report>,
) -> Result<(), Report> {
    // SAFETY: the caller's; a scan with the active snapshot, ended below or by
    // the transaction.
    unsafe {
        let mut writer = ImageWriter::new((*relation).rd_att, &key.columns);
        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        let snapshot = pg_sys::GetActiveSnapshot();
        let scan = pg_sys::table_beginscan(relation, snapshot, 0, std::ptr::null_mut());
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        while pg_sys::table_scan_getnextslot(scan, forward, slot) {
            check_for_interrupts!();
            writer.bytes.push(Change::Insert.code());
            writer.row(slot)?;
            if writer.bytes.len() >= BATCH_BYTES {
                send(&mut writer.bytes)?;
            }
        }
        pg_sys::table_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        if !writer.bytes.is_empty() {
            send(&mut writer.bytes)?;
        }
        writer.finish();
    }
    Ok(())
}

/// Whether an UPDATE gives a row another key. Looked at only while it matters.
///
/// SAFETY: transition tables, null or valid.
unsafe fn changes_keys(
    descriptor: pg_sys::TupleDesc,
    key: &Key,
    old: *mut pg_sys::Tuplestorestate,
    new: *mut pg_sys::Tuplestorestate,
) -> Result<bool, Report> {
    if !standing::is_anyone_down()? {
        return Ok(false);
    }
    // SAFETY: the caller's.
    unsafe {
        let mut writer = ImageWriter::new(descriptor, &key.columns);
        let mut images = [Vec::new(), Vec::new()];
        for (store, images) in [old, new].into_iter().zip(&mut images) {
            let Some(mut rows) = Rows::of(descriptor, store) else { continue };
            while let Some(slot) = rows.next() {
                writer.key(slot)?;
            }
            rows.end();
            std::mem::swap(images, &mut writer.bytes);
        }
        writer.finish();
        Ok(images[0] != images[1])
    }
}

/// As they were made; `send` is called when there is much, and takes it.
///
/// # Safety
/// Transition tables of one event, null or valid, with rows of the descriptor.
pub unsafe fn changes(
    descriptor: pg_sys::TupleDesc,
    old: *mut pg_sys::Tuplestorestate,
    new: *mut pg_sys::Tuplestorestate,
    writer: &mut ImageWriter,
    send: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), Report>,
) -> Result<(), Report> {
    // SAFETY: the caller's transition tables, null or valid.
    unsafe {
        let mut old = Rows::of(descriptor, old);
        let mut new = Rows::of(descriptor, new);
        let change = match (&old, &new) {
            (Some(_), Some(_)) => Change::Update,
            (Some(_), None) => Change::Delete,
            _ => Change::Insert,
        };
        loop {
            let before = old.as_mut().and_then(|rows| rows.next());
            let after = new.as_mut().and_then(|rows| rows.next());
            if before.is_none() && after.is_none() {
                break;
            }
            writer.bytes.push(change.code());
            before.map_or(Ok(()), |slot| writer.key(slot))?;
            after.map_or(Ok(()), |slot| writer.row(slot))?;
            if writer.bytes.len() >= BATCH_BYTES {
                send(&mut writer.bytes)?;
            }
        }
        old.into_iter().chain(new).for_each(Rows::end);
    }
    Ok(())
}

/// For all keys that were touched, what is there now. Rows that are gone go
/// first: others may have taken their place in another unique index.
///
/// # Safety
/// As for [`changes`]; the relation is open.
pub unsafe fn present_rows(
    relation: pg_sys::Relation,
    key: &Key,
    tables: [*mut pg_sys::Tuplestorestate; 2],
    writer: &mut ImageWriter,
    send: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), Report>,
) -> Result<(), Report> {
    // SAFETY: the caller's; the table is ours to read, its writer lock is held.
    unsafe {
        pg_sys::CommandCounterIncrement();
        let descriptor = (*relation).rd_att;
        let found = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        let mut seen = HashSet::new();
        for change in [Change::Absent, Change::Present] {
            seen.clear();
            for table in tables {
                let Some(mut rows) = Rows::of(descriptor, table) else { continue };
                while let Some(slot) = rows.next() {
                    let start = writer.bytes.len();
                    writer.bytes.push(change.code());
                    writer.key(slot)?;
                    let is_new = seen.insert(writer.bytes[start + 1..].to_vec());
                    let exists = is_new
                        && pg_sys::RelationFindReplTupleByIndex(
                            relation,
                            key.index,
                            pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                            slot,
                            found,
                        );
                    if !is_new || exists != (change == Change::Present) {
                        writer.bytes.truncate(start);
                        continue;
                    }
                    if exists {
                        writer.row(found)?;
                    }
                    if writer.bytes.len() >= BATCH_BYTES {
                        send(&mut writer.bytes)?;
                    }
                }
                rows.end();
            }
        }
        pg_sys::ExecDropSingleTupleTableSlot(found);
    }
    Ok(())
}

/// The rows of a transition table, from the start.
pub struct Rows {
    store: *mut pg_sys::Tuplestorestate,
    slot: *mut pg_sys::TupleTableSlot,
}

impl Rows {
    /// None if there is no such table.
    ///
    /// # Safety
    /// `store` is null or valid; so is the descriptor.
    pub unsafe fn of(
        descriptor: pg_sys::TupleDesc,
        store: *mut pg_sys::Tuplestorestate,
    ) -> Option<Rows> {
        if store.is_null() {
            return None;
        }
        // SAFETY: the caller's. A read pointer of our own leaves those of other
        // triggers where they are.
        unsafe {
            let slot =
                pg_sys::MakeSingleTupleTableSlot(descriptor, &raw const pg_sys::TTSOpsMinimalTuple);
            let pointer =
                pg_sys::tuplestore_alloc_read_pointer(store, pg_sys::EXEC_FLAG_REWIND as i32);
            pg_sys::tuplestore_select_read_pointer(store, pointer);
            pg_sys::tuplestore_rescan(store);
            Some(Rows { store, slot })
        }
    }

    /// The next one, valid until it is asked for another.
    ///
    /// # Safety
    /// The table exists still.
    #[allow(clippy::should_implement_trait)]
    pub unsafe fn next(&mut self) -> Option<*mut pg_sys::TupleTableSlot> {
        // SAFETY: valid since `of`.
        unsafe {
            pg_sys::tuplestore_gettupleslot(self.store, true, false, self.slot).then_some(self.slot)
        }
    }

    /// To be called when all is read.
    pub fn end(self) {
        // SAFETY: the slot is ours; pointer 0 is the one that was selected.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::tuplestore_select_read_pointer(self.store, 0);
        }
    }
}

/// The report of a failure to write on another node: if it could not be reached,
/// with what that means for a replicated table.
pub fn needs_all_nodes(error: fdw::Error) -> Report {
    let is_away =
        matches!(error, fdw::Error::CouldNotConnect { .. } | fdw::Error::ConnectionLost { .. });
    let report = Report::from(error);
    if !is_away {
        return report;
    }
    let bare = Report::new(report.code, report.message)
        .hint("A replicated table is written on all nodes of the cluster at once; reading it needs this node alone.");
    match report.detail {
        Some(detail) => bare.detail(detail),
        None => bare,
    }
}

/// Batches on their way to the other nodes, one at a time: while it is made
/// there the next is put together here.
pub struct Outgoing {
    table: TableId,
    nodes: Vec<NodeId>,
    sessions: Option<Everywhere>,
    under_way: Option<Calling>,
}

impl Outgoing {
    /// To all active nodes but this one. One that is down gets what it misses
    /// before it is active again.
    pub fn to_others(table: TableId) -> Result<Self, Report> {
        let me = membership::my_identity()?.node_id;
        let registry = registry()?;
        let others = registry.members().iter().filter(|member| member.is_active && member.id != me);
        let nodes = others.map(|member| member.id).collect();
        Ok(Self::to(table, nodes))
    }

    /// To some nodes.
    pub fn to(table: TableId, nodes: Vec<NodeId>) -> Self {
        Outgoing { table, nodes, sessions: None, under_way: None }
    }

    /// Sends what has been put together, if anything has, and leaves it empty.
    pub fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), Report> {
        if bytes.is_empty() || self.nodes.is_empty() {
            bytes.clear();
            return Ok(());
        }
        if self.sessions.is_none() {
            self.sessions = Some(Everywhere::open(&self.nodes).map_err(needs_all_nodes)?);
        }
        self.collect()?;
        let me = membership::my_identity()?.node_id;
        let call = Call::new("SELECT shardman.apply_changes($1, $2, $3, $4)");
        let call = call.text(&me.to_string()).text(&epoch::to_send()?.to_string());
        let call = call.text(&self.table.to_string()).binary(bytes);
        if let Some(sessions) = &self.sessions {
            self.under_way = Some(sessions.call(call, true).map_err(needs_all_nodes)?);
        }
        bytes.clear();
        Ok(())
    }

    fn collect(&mut self) -> Result<(), Report> {
        match self.under_way.take() {
            Some(calling) => calling.collect().map_err(needs_all_nodes),
            None => Ok(()),
        }
    }

    /// Waits until all nodes have made what was sent.
    pub fn wait(mut self) -> Result<(), Report> {
        self.collect()
    }
}
