//! Turning a local table into a replicated one, and back.
#![allow(unsafe_code)]

use cluster::metadata::TokenId;
use cluster::row_log::{RowLogId, TableLog};
use cluster::sharding::{NodeCommand, SequenceDefinition, quote_identifier};
use pgrx::prelude::*;

use super::compare::check_owner;
use super::definition::{TRIGGER_PREFIX, make_elsewhere, register};
use super::key::Key;
use super::lock_table;
use super::ship::{Outgoing, all_rows};
use crate::catalog::{
    ActingAs, ReplicatedTable, future_definition_of_sequence, next_table_id, owned_sequences,
    qualified_name, register_sequence, registry, unregister_table,
};
use crate::ddl::{OwnWork, is_leaf_schema, lock_ddl};
use crate::report::{OrRaise, Report};
use crate::{membership, peers, row_log, schema_change};

#[pg_extern(sql = false)]
fn replicate_table(rel: pg_sys::Oid) {
    replicate(rel).or_raise()
}

#[pg_extern(sql = false)]
fn unreplicate_table(rel: pg_sys::Oid) {
    unreplicate(rel).or_raise()
}

/// Makes a table of this node a replicated one, with its rows.
pub fn replicate(rel: pg_sys::Oid) -> Result<(), Report> {
    replicate_under(rel, None)
}

/// The same, with changes carried by a log if one is given.
pub fn replicate_under(rel: pg_sys::Oid, log: Option<RowLogId>) -> Result<(), Report> {
    check_owner(rel)?;
    membership::my_identity()?;
    lock_ddl()?;
    // The rows, and what the table was here.
    schema_change::note_other_work();
    // SAFETY: the lock waits, answering to cancel; what is opened is closed below
    // or by the transaction's end.
    unsafe {
        let relation = pg_sys::table_open(rel, pg_sys::AccessExclusiveLock as i32);
        check_kind(relation)?;
        // The other copies are to have the same owner.
        let _acting = ActingAs::user((*(*relation).rd_rel).relowner);
        let shape = TokenId::default();
        let table = ReplicatedTable { table_id: next_table_id()?, rel, log, shape };
        register(table.table_id, rel, log.map(|log| TableLog { log, shape }))?;
        if log.is_some() {
            row_log::check_table(rel)?;
            all_nodes_present()?;
        }
        share_sequences(rel)?;
        make_elsewhere(table)?;
        let mut outgoing = Outgoing::to_others(table.table_id)?;
        pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        all_rows(relation, &Key::of(relation)?, &mut |bytes| outgoing.send(bytes))?;
        pg_sys::PopActiveSnapshot();
        outgoing.wait()?;
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
    }
    Ok(())
}

/// A node that is away could not be given the rows.
fn all_nodes_present() -> Result<(), Report> {
    let missing = schema_change::missing_members()?;
    let Some(node) = missing.first() else { return Ok(()) };
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("cannot replicate a table with rows while node {node} is away"),
    )
    .hint("Retry when the node is back; shardman.nodes shows the state of all nodes."))
}

/// What the table's columns draw from is from now on drawn from on all nodes, and
/// goes on where it stands here.
fn share_sequences(rel: pg_sys::Oid) -> Result<(), Report> {
    let known = registry()?;
    for sequence in owned_sequences(rel)? {
        if known.sequence(sequence).is_some() {
            continue;
        }
        // SAFETY: a guarded call. nextval() takes a lock that waits for this one.
        unsafe { pg_sys::LockRelationOid(sequence, pg_sys::ShareRowExclusiveLock as i32) };
        let definition = future_definition_of_sequence(sequence)?;
        let SequenceDefinition { sequence_id, first, block_size, .. } = definition;
        register_sequence(sequence, sequence_id, first, block_size)?;
    }
    Ok(())
}

/// SAFETY: an open relation.
unsafe fn check_kind(relation: pg_sys::Relation) -> Result<(), Report> {
    // SAFETY: the caller's.
    let (form, rel) = unsafe { (&*(*relation).rd_rel, (*relation).rd_id) };
    let refused = |why: &str| {
        Report::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("cannot replicate table {}", qualified_name(rel)),
        )
        .detail(why)
    };
    if registry()?.managed_id(rel).is_some() || is_leaf_schema(rel) {
        return Err(refused("It is sharded or replicated already."));
    }
    if form.relkind as u8 != pg_sys::RELKIND_RELATION
        || form.relpersistence as u8 != pg_sys::RELPERSISTENCE_PERMANENT
    {
        return Err(refused("It is not an ordinary permanent table."));
    }
    let inherits = {
        let _acting = ActingAs::owner_of_the_catalogs();
        Spi::get_one_with_args::<bool>(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits
                            WHERE inhrelid OPERATOR(pg_catalog.=) $1 OR inhparent OPERATOR(pg_catalog.=) $1)",
            &[rel.into()],
        )? == Some(true)
    };
    if inherits {
        return Err(refused("It is a partition, or has part in inheritance."));
    }
    Ok(())
}

fn unreplicate(rel: pg_sys::Oid) -> Result<(), Report> {
    let not_replicated = || {
        Report::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("{} is not a replicated table", qualified_name(rel)),
        )
        .hint("Look at shardman.global_tables.")
    };
    let table = registry()?.replicated_of(rel).ok_or_else(not_replicated)?;
    check_owner(rel)?;
    lock_ddl()?;
    // What the table becomes here.
    schema_change::note_other_work();
    match table.log {
        Some(log) => row_log::fence(table, log)?,
        None => lock_table(table.table_id)?,
    }
    refuse_referrers(rel)?;
    let name = qualified_name(rel);
    let statement = format!("DROP TABLE {name} RESTRICT");
    peers::tell_all(&NodeCommand::Drop { tables: vec![table.table_id], statement })?;
    let _own_work = OwnWork::begin();
    let _acting = ActingAs::owner_of_the_catalogs();
    for trigger in ["lock", "insert", "update", "delete", "truncate"] {
        let trigger = quote_identifier(&format!("{TRIGGER_PREFIX}{trigger}"));
        Spi::run(&format!("DROP TRIGGER {trigger} ON {name}"))?;
    }
    unregister_table(table.table_id)
}

/// Tables that exist on every node cannot refer to one that does not.
fn refuse_referrers(rel: pg_sys::Oid) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        "SELECT pg_catalog.array_agg(conrelid) FROM pg_catalog.pg_constraint
         WHERE confrelid OPERATOR(pg_catalog.=) $1 AND contype OPERATOR(pg_catalog.=) 'f'
           AND conrelid OPERATOR(pg_catalog.<>) confrelid",
        &[rel.into()],
    )?;
    let registry = registry()?;
    let managed = found.unwrap_or_default().into_iter();
    match managed.into_iter().find(|other| registry.managed_id(*other).is_some()) {
        None => Ok(()),
        Some(other) => Err(Report::new(
            PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot make table {} a local one", qualified_name(rel)),
        )
        .detail(format!("Table {} references it on every node.", qualified_name(other)))
        .hint("Drop the foreign key first.")),
    }
}
