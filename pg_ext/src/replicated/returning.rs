//! A node that comes back: before it is active again its copies are made equal
//! to those of the home node, while writers wait there.

use std::time::Duration;

use cluster::replication::{Change, WriterLock};
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

use super::apply::apply_own;
use super::compare::{Rows, bytes_of, read_rows, rows_here};
use crate::catalog::{Member, ReplicatedTable, registry};
use crate::lists::text;
use crate::membership::Dialog;
use crate::node_session::EFFECTIVE_USER;
use crate::report::Report;
use crate::schema_change::in_transaction;
use crate::worker::process;

/// For logging in to the home and each step there; writers that were at it end
/// within it, or the next attempt waits for them.
const BOUND: Duration = Duration::from_secs(30);
/// For the other nodes to notice that this one is active.
const NOTICE: Duration = Duration::from_secs(10);

/// A copy to be brought up to date.
struct Copy {
    table: ReplicatedTable,
    owner: String,
}

/// Brings the copies of this node, which is down, up to date, has it become
/// active by `admit`, and lets writers go on when all others know.
pub fn catch_up(own: &Member, admit: impl FnOnce() -> Result<(), Report>) -> Result<(), Report> {
    let (copies, active) = in_transaction(look_around)?;
    // Not this node itself, whatever it knows of its own state.
    let other = active.iter().find(|member| member.id != own.id);
    let Some(home) = other.filter(|_| !copies.is_empty()) else { return admit() };
    let mut session = Dialog::open_bounded_member_session(home, BOUND)?;
    let locks: Vec<_> = copies.iter().map(|copy| WriterLock::Table(copy.table.table_id)).collect();
    session.rows("BEGIN ISOLATION LEVEL READ COMMITTED")?;
    session.rows(&format!(
        "SELECT shardman.lock_writers({}, {})",
        home.id,
        quote_literal(WriterLock::print(&locks))
    ))?;
    for copy in &copies {
        session.rows(&format!("SET {EFFECTIVE_USER} TO {}", quote_literal(&copy.owner)))?;
        in_transaction(|| bring_up_to_date(&mut session, copy.table))?;
    }
    admit()?;
    // Whoever still took this node for one that is down would leave it out.
    for member in active.iter().filter(|member| member.id != own.id) {
        wait_until_noticed(own, member)?;
    }
    session.rows("COMMIT").map(drop)
}

fn look_around() -> Result<(Vec<Copy>, Vec<Member>), Report> {
    let registry = registry()?;
    let active = registry.members().iter().filter(|member| member.is_active).cloned().collect();
    let copies = registry.replicated_tables().into_iter().filter(|table| table.log.is_none());
    Ok((copies.map(|table| Copy { table, owner: owner_of(table.rel) }).collect(), active))
}

/// The name of a table's owner.
#[allow(unsafe_code)]
pub fn owner_of(rel: pg_sys::Oid) -> String {
    // SAFETY: a registered table exists; a palloc'd name.
    unsafe {
        let relation = pg_sys::table_open(rel, pg_sys::AccessShareLock as i32);
        let owner = (*(*relation).rd_rel).relowner;
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        text(pg_sys::GetUserNameFromId(owner, false))
    }
}

/// Makes a copy of this node equal to the one that the session sees.
pub fn bring_up_to_date(session: &mut Dialog, table: ReplicatedTable) -> Result<(), Report> {
    let id = table.table_id;
    let sql = format!("SELECT image, key, hash FROM shardman.row_hashes({id})");
    let there: Rows = read_rows(session.rows(&sql)?);
    let here = rows_here(table)?;
    let mut gone = Vec::new();
    for image in here.keys().filter(|image| !there.contains_key(*image)) {
        gone.push(Change::Absent.code());
        gone.extend(bytes_of(image));
    }
    if !gone.is_empty() {
        apply_own(id, &gone)?;
    }
    let is_due = |(image, (_, hash)): &(&String, &(String, i64))| {
        here.get(*image).is_none_or(|(_, own)| own != hash)
    };
    let due: Vec<_> = there.iter().filter(is_due).map(|(image, _)| image.as_str()).collect();
    if due.is_empty() {
        return Ok(());
    }
    // Images are hexadecimal digits: nothing to quote.
    let sql = format!("SELECT shardman.row_images({id}, '{{{}}}')", due.join(","));
    for batch in session.column(&sql)? {
        let bytes: Vec<u8> = bytes_of(batch.strip_prefix("\\x").unwrap_or(&batch)).collect();
        apply_own(id, &bytes)?;
    }
    Ok(())
}

fn wait_until_noticed(own: &Member, member: &Member) -> Result<(), Report> {
    let Ok(mut session) = Dialog::open_bounded_member_session(member, NOTICE) else {
        // Who cannot be reached cannot write either; it learns before it does.
        return Ok(());
    };
    let begun = std::time::Instant::now();
    let sql = format!("SELECT state FROM shardman.node WHERE id OPERATOR(pg_catalog.=) {}", own.id);
    while begun.elapsed() < NOTICE {
        if session.column(&sql)?.first().is_some_and(|state| state == "active") {
            return Ok(());
        }
        if !process::wait(Duration::from_millis(50)) {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN,
                "the server is shutting down",
            ));
        }
    }
    Ok(())
}
