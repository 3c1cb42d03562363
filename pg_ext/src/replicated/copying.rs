//! Giving a node that joins the rows of replicated tables while they are written.
//!
//! The rows of one snapshot are copied whole. Then follow what has changed since:
//! rows whose versions that snapshot does not see, and keys that are gone. That is
//! repeated while it is much, and once more while writers wait at the home, which is
//! short: the tables are read here, and little is sent.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::time::Instant;

use cluster::replication::Change;
use pgrx::prelude::*;

use super::compare::{BATCH_BYTES, each_row_of, hexadecimal};
use super::lock_table;
use crate::catalog::{ActingAs, ReplicatedTable, registry};
use crate::membership::{Dialog, my_identity};
use crate::node_session::EFFECTIVE_USER;
use crate::report::Report;

/// Rounds without writers waiting: each is to be shorter than the one before.
const MOST_ROUNDS: usize = 5;
/// So few changes are made while writers wait.
const FEW_CHANGES: usize = 500;

/// Keeps writers of all replicated tables waiting until the transaction ends,
/// and waits for those that are at it.
pub fn hold_writers() -> Result<(), Report> {
    for table in registry()?.replicated_tables().iter().filter(|table| table.log.is_none()) {
        lock_table(table.table_id)?;
    }
    Ok(())
}

/// Copies that are being made on another node.
pub struct Copying {
    copies: Vec<Copy>,
    /// What they are as of. Registered; let go at the end, after an error by the
    /// transaction's.
    snapshot: pg_sys::Snapshot,
}

struct Copy {
    table: ReplicatedTable,
    owner: String,
    /// Images of the keys of all its rows.
    keys: HashSet<Vec<u8>>,
}

impl Copying {
    /// Nothing yet, as of now.
    pub fn begin() -> Self {
        Copying { copies: Vec::new(), snapshot: latest_snapshot() }
    }

    /// Replaces the rows of the copy at the other end by those that are here, in a
    /// transaction of its own, as the table's owner.
    pub fn add(
        &mut self,
        session: &mut Dialog,
        owner: &str,
        table: ReplicatedTable,
    ) -> Result<(), Report> {
        let mut copy = Copy { table, owner: owner.to_owned(), keys: HashSet::new() };
        copy.begin(session)?;
        // What an interrupted attempt has left.
        copy.send(session, &[Change::Truncate.code()])?;
        let keys = &mut copy.keys;
        let mut batch = Vec::new();
        // SAFETY: the snapshot is registered, the slot holds a row of the table.
        unsafe {
            each_row_of(table.rel, self.snapshot, &mut |writer, slot| {
                writer.key(slot)?;
                keys.insert(std::mem::take(&mut writer.bytes));
                batch.push(Change::Insert.code());
                writer.row(slot)?;
                batch.append(&mut writer.bytes);
                if batch.len() >= BATCH_BYTES {
                    send(session, table, &batch)?;
                    batch.clear();
                }
                Ok(())
            })?;
        }
        copy.send(session, &batch)?;
        session.rows("COMMIT")?;
        self.copies.push(copy);
        Ok(())
    }

    /// Brings all copies nearly up to date, then has writers wait until the
    /// transaction ends, and does the rest. Returns when they began to wait.
    pub fn finish(mut self, session: &mut Dialog) -> Result<Instant, Report> {
        for _ in 0..MOST_ROUNDS {
            if self.follow(session)? <= FEW_CHANGES {
                break;
            }
        }
        let begun = Instant::now();
        hold_writers()?;
        for copy in &self.copies {
            wait_for_prepared(copy.table.rel)?;
        }
        self.follow(session)?;
        // SAFETY: registered, and used by nobody any more.
        unsafe { pg_sys::UnregisterSnapshot(self.snapshot) };
        Ok(begun)
    }

    /// Sends what has changed since the last time. Returns how many rows.
    fn follow(&mut self, session: &mut Dialog) -> Result<usize, Report> {
        let now = latest_snapshot();
        let mut changes = 0;
        for copy in &mut self.copies {
            changes += copy.follow(session, self.snapshot, now)?;
        }
        // SAFETY: registered, and used by nobody any more.
        unsafe { pg_sys::UnregisterSnapshot(self.snapshot) };
        self.snapshot = now;
        Ok(changes)
    }
}

impl Copy {
    /// In one transaction. Rows go before their new versions come, so that no
    /// unique index is in the way.
    fn follow(
        &mut self,
        session: &mut Dialog,
        before: pg_sys::Snapshot,
        now: pg_sys::Snapshot,
    ) -> Result<usize, Report> {
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        let mut keys = HashSet::with_capacity(self.keys.len());
        let (mut changes, old_keys) = (0, &mut self.keys);
        // SAFETY: registered snapshots; the slot holds a row of the table.
        unsafe {
            each_row_of(self.table.rel, now, &mut |writer, slot| {
                writer.key(slot)?;
                let key = std::mem::take(&mut writer.bytes);
                let is_old = old_keys.remove(&key);
                if pg_sys::XidInMVCCSnapshot(xmin_of(slot), before) || !is_old {
                    changes += 1;
                    gone.push(Change::Absent.code());
                    gone.extend_from_slice(&key);
                    come.push(Change::Insert.code());
                    writer.row(slot)?;
                    come.append(&mut writer.bytes);
                }
                keys.insert(key);
                Ok(())
            })?;
        }
        for key in self.keys.drain() {
            changes += 1;
            gone.push(Change::Absent.code());
            gone.extend_from_slice(&key);
        }
        self.keys = keys;
        if changes > 0 {
            self.begin(session)?;
            self.send(session, &gone)?;
            self.send(session, &come)?;
            session.rows("COMMIT")?;
        }
        Ok(changes)
    }

    fn begin(&self, session: &mut Dialog) -> Result<(), Report> {
        session.rows("BEGIN")?;
        let owner = pgrx::spi::quote_literal(&self.owner);
        session.rows(&format!("SET {EFFECTIVE_USER} TO {owner}")).map(drop)
    }

    fn send(&self, session: &mut Dialog, changes: &[u8]) -> Result<(), Report> {
        send(session, self.table, changes)
    }
}

fn send(session: &mut Dialog, table: ReplicatedTable, changes: &[u8]) -> Result<(), Report> {
    if changes.is_empty() {
        return Ok(());
    }
    // No node is left out: all the others have these rows.
    let (me, epoch, id) = (my_identity()?.node_id, i64::MAX, table.table_id);
    let image = hexadecimal(changes);
    let sql = format!("SELECT shardman.apply_changes({me}, {epoch}, {id}, '\\x{image}')");
    session.rows(&sql).map(drop)
}

/// What is committed now, registered.
fn latest_snapshot() -> pg_sys::Snapshot {
    // SAFETY: in a transaction.
    unsafe { pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()) }
}

/// SAFETY: the slot holds a row of a table.
unsafe fn xmin_of(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::TransactionId {
    let mut is_null = false;
    let attribute = pg_sys::MinTransactionIdAttributeNumber;
    // SAFETY: the caller's; every row of a table has it.
    let value = unsafe { pg_sys::slot_getsysattr(slot, attribute, &raw mut is_null) };
    pg_sys::TransactionId::from(value.value() as u32)
}

/// Waits for writers that have left the table's home already and are prepared
/// here. Not by a lock on the table: who waits at the home holds one himself.
pub fn wait_for_prepared(rel: pg_sys::Oid) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let prepared = Spi::get_one_with_args::<Vec<i64>>(
        "SELECT pg_catalog.array_agg(DISTINCT x.transactionid::pg_catalog.text::pg_catalog.int8)
         FROM pg_catalog.pg_locks AS l
              JOIN pg_catalog.pg_locks AS x
                ON x.virtualtransaction OPERATOR(pg_catalog.=) l.virtualtransaction
         WHERE l.relation OPERATOR(pg_catalog.=) $1 AND l.pid IS NULL AND x.transactionid IS NOT NULL",
        &[rel.into()],
    )?;
    for xid in prepared.unwrap_or_default() {
        // SAFETY: a transaction id of this server; the guarded call waits for its
        // end, answering to cancel.
        unsafe {
            pg_sys::XactLockTableWait(
                pg_sys::TransactionId::from(xid as u32),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                pg_sys::XLTW_Oper::XLTW_None,
            );
        }
    }
    Ok(())
}
