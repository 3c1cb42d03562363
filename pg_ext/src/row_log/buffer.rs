//! What this backend's transaction has done to tables with logs so far.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use cluster::TableId;
use cluster::metadata::TokenId;
use cluster::row_log::{
    Bytes, Footprint, MAX_ENTRY_BYTES, RowLogId, RowLogPosition, RowPart, TableFootprint,
};
use pgrx::prelude::*;

use super::refusal::too_large;
use crate::compat;
use crate::report::Report;

/// What one statement did to one table.
pub struct Written {
    /// The table.
    pub table: TableId,
    /// Its log.
    pub log: RowLogId,
    /// Its shape.
    pub shape: TokenId,
    /// What this node had applied when the rows were locked.
    pub base: RowLogPosition,
    /// Of rows that were written.
    pub keys: Vec<u64>,
    /// Every row was.
    pub is_all: bool,
    /// Changes as `replicated` makes them.
    pub bytes: Vec<u8>,
}

/// A table of which no row may have changed.
#[derive(Clone, Copy)]
struct Read {
    table: TableId,
    log: RowLogId,
    shape: TokenId,
    base: RowLogPosition,
}

#[derive(Default)]
struct Buffer {
    transaction: pg_sys::LocalTransactionId,
    written: Vec<(pg_sys::SubTransactionId, Written)>,
    read: Vec<(pg_sys::SubTransactionId, Read)>,
    bytes: usize,
}

thread_local! {
    static BUFFER: RefCell<Buffer> = RefCell::default();
}

fn subtransaction() -> pg_sys::SubTransactionId {
    // SAFETY: reads the backend's transaction state.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

fn with<R>(work: impl FnOnce(&mut Buffer) -> R) -> R {
    let transaction = compat::local_transaction_id();
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.transaction != transaction {
            *buffer = Buffer { transaction, ..Buffer::default() };
        }
        work(buffer)
    })
}

/// Enters what a statement has done.
pub fn push(written: Written) -> Result<(), Report> {
    let bytes = with(|buffer| {
        buffer.bytes += written.bytes.len();
        buffer.written.push((subtransaction(), written));
        buffer.bytes
    });
    if bytes > MAX_ENTRY_BYTES { Err(too_large()) } else { Ok(()) }
}

/// From now on no row of the table may change until the transaction commits, if
/// it writes anything to the table's log.
pub fn depend_on(table: TableId, log: RowLogId, shape: TokenId, base: RowLogPosition) {
    with(|buffer| {
        if !buffer.read.iter().any(|(_, read)| read.table == table) {
            buffer.read.push((subtransaction(), Read { table, log, shape, base }));
        }
    });
}

/// Whether the transaction has written any.
pub fn is_empty() -> bool {
    // Called at the end of every transaction.
    BUFFER.with_borrow(|buffer| {
        buffer.written.is_empty() || buffer.transaction != compat::local_transaction_id()
    })
}

/// Whether the transaction has written this table.
pub fn has_written(table: TableId) -> bool {
    with(|buffer| buffer.written.iter().any(|(_, written)| written.table == table))
}

/// Everything, by log.
pub fn parts() -> Vec<RowPart> {
    with(|buffer| {
        let mut parts: BTreeMap<RowLogId, (BTreeMap<TableId, TableFootprint>, Vec<u8>)> =
            BTreeMap::new();
        for (_, written) in &buffer.written {
            let (tables, changes) = parts.entry(written.log).or_default();
            let table = tables
                .entry(written.table)
                .or_insert_with(|| TableFootprint::new(written.table, written.shape));
            if written.is_all {
                table.all_written.get_or_insert(written.base);
            } else if !written.keys.is_empty() {
                table.keys.push((written.base, written.keys.clone()));
            }
            changes.extend_from_slice(&written.table.0.to_be_bytes());
            changes.extend_from_slice(&(written.bytes.len() as u32).to_be_bytes());
            changes.extend_from_slice(&written.bytes);
        }
        for (_, read) in &buffer.read {
            let Some((tables, _)) = parts.get_mut(&read.log) else { continue };
            let table = tables
                .entry(read.table)
                .or_insert_with(|| TableFootprint::new(read.table, read.shape));
            table.all_read.get_or_insert(read.base);
        }
        let parts = parts.into_iter().map(|(log, (tables, changes))| RowPart {
            log,
            footprint: Footprint { tables: tables.into_values().collect() },
            changes: Bytes(changes),
        });
        parts.collect()
    })
}

/// The pieces of a part's changes, each of one table. An error if they are not
/// whole.
pub fn pieces(mut changes: &[u8]) -> Result<Vec<(TableId, &[u8])>, Report> {
    let mut pieces = Vec::new();
    while !changes.is_empty() {
        let piece = changes.split_first_chunk::<8>().and_then(|(table, rest)| {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let length = u32::from_be_bytes(*length) as usize;
            let (bytes, rest) = rest.split_at_checked(length)?;
            Some((TableId(u64::from_be_bytes(*table)), bytes, rest))
        });
        let Some((table, bytes, rest)) = piece else {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
                "an entry of a log ends in the middle of a change",
            )
            .hint("All nodes must run the same version of shardman."));
        };
        pieces.push((table, bytes));
        changes = rest;
    }
    Ok(pieces)
}

/// A subtransaction was rolled back, with all that had become part of it. Raises
/// nothing.
pub fn roll_back_to(aborted: pg_sys::SubTransactionId) {
    let _ = BUFFER.try_with(|buffer| {
        let Ok(mut buffer) = buffer.try_borrow_mut() else { return };
        buffer.written.retain(|(when, _)| *when < aborted);
        buffer.read.retain(|(when, _)| *when < aborted);
        buffer.bytes = buffer.written.iter().map(|(_, written)| written.bytes.len()).sum();
    });
}

/// The transaction is over. Raises nothing.
pub fn forget() {
    let _ = BUFFER.try_with(|buffer| {
        if let Ok(mut buffer) = buffer.try_borrow_mut() {
            *buffer = Buffer::default();
        }
    });
}
