//! Giving a node that joins the rows of replicated tables.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::key::Key;
use super::{lock_table, ship};
use crate::catalog::{ActingAs, ReplicatedTable, registry};
use crate::membership::{Dialog, my_identity};
use crate::node_session::EFFECTIVE_USER;
use crate::report::Report;

/// Keeps writers of all replicated tables waiting until the transaction ends,
/// and waits for those that are at it. By then the newcomer is a member that
/// they write, too.
pub fn hold_writers() -> Result<(), Report> {
    for table in registry()?.replicated_tables().iter().filter(|table| table.log.is_none()) {
        lock_table(table.table_id)?;
    }
    Ok(())
}

/// Replaces the rows of the copy at the other end by those that are here, in a
/// transaction of its own. Writers are held.
pub fn copy_rows(session: &mut Dialog, user: &str, table: ReplicatedTable) -> Result<(), Report> {
    let me = my_identity()?.node_id;
    let call = |session: &mut Dialog, bytes: &[u8]| {
        let id = table.table_id;
        let mut sql = format!("SELECT shardman.apply_changes({me}, {id}, '\\x");
        sql.reserve(2 * bytes.len() + 2);
        bytes.iter().for_each(|byte| {
            sql.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            sql.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        });
        sql.push_str("')");
        session.rows(&sql).map(drop)
    };
    session.rows("BEGIN")?;
    session.rows(&format!("SET {EFFECTIVE_USER} TO {}", pgrx::spi::quote_literal(user)))?;
    // What an interrupted attempt has left.
    call(session, &[cluster::replication::Change::Truncate.code()])?;
    wait_for_prepared(table.rel)?;
    // SAFETY: a new snapshot sees what finished transactions have written. An
    // error unwinds to the transaction's end, which closes everything.
    unsafe {
        let relation = pg_sys::table_open(table.rel, pg_sys::AccessShareLock as i32);
        pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        let key = Key::of(relation)?;
        ship::all_rows(relation, &key, &mut |bytes| {
            call(session, bytes)?;
            bytes.clear();
            Ok(())
        })?;
        pg_sys::PopActiveSnapshot();
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
    }
    session.rows("COMMIT").map(drop)
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
