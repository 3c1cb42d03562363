//! Writing down what a statement does to a table with a log.
#![allow(unsafe_code)]

use cluster::replication::Change;
use cluster::row_log::RowLogId;
use fdw::ImageWriter;
use pgrx::prelude::*;

use super::buffer::{self, Written};
use super::keys::Keys;
use super::memory;
use crate::catalog::ReplicatedTable;
use crate::deadlock;
use crate::replicated::{Key, Rows, changes, end_statement, present_rows};
use crate::report::Report;

/// In the trigger of a statement that has written it.
///
/// # Safety
/// `data` is PostgreSQL's own, of an AFTER STATEMENT trigger with the transition
/// tables of its event.
pub unsafe fn after(
    data: *mut pg_sys::TriggerData,
    table: ReplicatedTable,
    log: RowLogId,
) -> Result<(), Report> {
    // SAFETY: the caller's.
    unsafe {
        let relation = (*data).tg_relation;
        let overlaps = end_statement((*relation).rd_id);
        let (old, new) = ((*data).tg_oldtable, (*data).tg_newtable);
        let is_truncate = old.is_null() && new.is_null();
        let descriptor = (*relation).rd_att;
        let key = Key::of(relation)?;
        let mut keys = Vec::new();
        let unique = Keys::of(relation, table.table_id)?;
        for store in [old, new] {
            let Some(mut rows) = Rows::of(descriptor, store) else { continue };
            while let Some(slot) = rows.next() {
                unique.note(slot, &mut keys);
            }
            rows.end();
        }
        keys.sort_unstable();
        keys.dedup();
        if !is_truncate && keys.is_empty() {
            // It has found no row.
            return Ok(());
        }
        let mut writer = ImageWriter::new(descriptor, &key.columns);
        // All of it stays together; what is too much is refused at the end of
        // the statement.
        let mut bytes = Vec::new();
        let mut collect = |some: &mut Vec<u8>| {
            bytes.append(some);
            Ok(())
        };
        if is_truncate {
            writer.bytes.push(Change::Truncate.code());
        } else if overlaps {
            present_rows(relation, &key, [old, new], &mut writer, &mut collect)?;
        } else {
            changes(descriptor, old, new, &mut writer, &mut collect)?;
        }
        collect(&mut writer.bytes)?;
        writer.finish();
        // The rows are locked: whatever changes them from now on is not applied
        // here before this transaction has ended, so they are as of now.
        // And who has applied something else about them is told from here.
        deadlock::listen();
        let base = memory::position(log);
        let (table, shape) = (table.table_id, table.shape);
        buffer::push(Written { table, log, shape, base, keys, is_all: is_truncate, bytes })
    }
}
