//! The decision row: in the coordinator's own transaction, before the first
//! PREPARE is sent.
#![allow(unsafe_code)]

use cluster::NodeId;
use pgrx::prelude::*;

use crate::catalog::catalog;
use crate::report::Report;

/// Writes it. Called at PRE_COMMIT: straight into the heap and its index, for
/// no snapshot and no user's right is involved.
pub fn record_decision(xid: u64, participants: &[NodeId]) -> Result<(), Report> {
    let table = catalog(c"commit_decision")?;
    // SAFETY: the table exists with the extension and has exactly these three
    // columns; the tuple and the array live in the current memory context.
    unsafe {
        let mut nodes: Vec<_> =
            participants.iter().map(|node| pg_sys::Datum::from(node.0 as i32)).collect();
        let nodes = pg_sys::construct_array(
            nodes.as_mut_ptr(),
            nodes.len() as i32,
            pg_sys::INT4OID,
            4,
            true,
            b'i' as std::ffi::c_char,
        );
        let mut values = [
            pg_sys::Datum::from(xid as i64),
            pg_sys::Datum::from(nodes),
            pg_sys::Datum::from(pg_sys::GetCurrentTimestamp()),
        ];
        let mut nulls = [false; 3];
        let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
        let tuple =
            pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::CatalogTupleInsert(relation, tuple);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
    }
    Ok(())
}
