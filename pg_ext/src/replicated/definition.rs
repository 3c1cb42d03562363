//! Making a table a replicated one.
#![allow(unsafe_code)]

use std::ffi::CString;

use cluster::TableId;
use cluster::metadata::TokenId;
use cluster::row_log::{RowLogId, TableLog};
use cluster::sharding::NodeCommand;
use pgrx::prelude::*;

use super::alter::check_result;
use super::key::Key;
use crate::catalog::{
    ActingAs, ReplicatedTable, definition_of_replicated, next_table_id, qualified_name,
    register_replicated,
};
use crate::ddl::{
    Finish, OwnWork, REPLICATED, Step, lock_ddl, refuse_reference_from_outside,
    register_owned_sequences,
};
use crate::lists::{elements, list_of, text};
use crate::membership;
use crate::peers;
use crate::report::Report;
use crate::row_log;

/// What the names of our triggers begin with.
pub const TRIGGER_PREFIX: &str = "shardman_";

/// A table that PostgreSQL has just created from `WITH (replicated)`.
pub struct CreatedReplicated {
    namespace: pg_sys::Oid,
    name: CString,
    log: Option<RowLogId>,
}

/// Looks at a CREATE TABLE that asks for a replicated table.
///
/// # Safety
/// `pstmt` is valid and `statement` its CreateStmt.
pub unsafe fn before_create(
    pstmt: *mut pg_sys::PlannedStmt,
    statement: *mut pg_sys::CreateStmt,
    log: Option<&str>,
) -> Result<Step, Report> {
    // SAFETY: the caller's.
    unsafe {
        check_shape(statement)?;
        refuse_reference_from_outside(statement.cast())?;
        membership::my_identity()?;
        let mut existing = pg_sys::InvalidOid;
        let namespace = pg_sys::RangeVarGetAndCheckCreationNamespace(
            (*statement).relation,
            pg_sys::NoLock as i32,
            &mut existing,
        );
        if pg_sys::isAnyTempNamespace(namespace) {
            return Err(REPLICATED.not_permanent("a temporary"));
        }
        let copy: *mut pg_sys::PlannedStmt = pg_sys::copyObjectImpl(pstmt.cast()).cast();
        let create: *mut pg_sys::CreateStmt = (*copy).utilityStmt.cast();
        let is_ours = |option: &*mut pg_sys::DefElem| {
            (**option).defnamespace.is_null()
                && matches!(text((**option).defname).as_str(), "replicated" | "global" | "log")
        };
        let options = elements::<pg_sys::DefElem>((*create).options);
        (*create).options = list_of(options.filter(|option| !is_ours(option)));
        if existing != pg_sys::InvalidOid {
            // PostgreSQL says so: an error, or a notice under IF NOT EXISTS.
            return Ok(Step::Run { statement: copy, finish: None });
        }
        let log = log.map(row_log::id_of).transpose()?;
        lock_ddl()?;
        let name = std::ffi::CStr::from_ptr((*(*statement).relation).relname).to_owned();
        let created = CreatedReplicated { namespace, name, log };
        Ok(Step::Run { statement: copy, finish: Some(Finish::CreateReplicated(created)) })
    }
}

impl CreatedReplicated {
    /// Registers it and makes the same everywhere else. The DDL lock is held.
    pub fn finish(&self) -> Result<(), Report> {
        // SAFETY: makes the table visible; a syscache look-up by name.
        let rel = unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::get_relname_relid(self.name.as_ptr(), self.namespace)
        };
        let shape = TokenId::default();
        let table = ReplicatedTable { table_id: next_table_id()?, rel, log: self.log, shape };
        register(table.table_id, rel, self.log.map(|log| TableLog { log, shape }))?;
        if self.log.is_some() {
            row_log::check_table(rel)?;
        }
        register_owned_sequences(rel)?;
        make_elsewhere(table)
    }
}

/// Makes a table that is registered here on all other nodes, without rows.
pub fn make_elsewhere(table: ReplicatedTable) -> Result<(), Report> {
    check_result(table)?;
    let definition = definition_of_replicated(table)?;
    let foreign_keys = definition.foreign_keys.clone();
    peers::tell_all(&NodeCommand::CreateTable(definition))?;
    if foreign_keys.is_empty() {
        return Ok(());
    }
    peers::tell_all(&NodeCommand::AddForeignKeys { table: table.table_id, foreign_keys })
}

/// Enters a table of this node, with its triggers.
pub fn register(table: TableId, rel: pg_sys::Oid, log: Option<TableLog>) -> Result<(), Report> {
    Key::of_table(rel)?;
    let _own_work = OwnWork::begin();
    add_triggers(rel)?;
    register_replicated(table, rel, log)
}

/// Triggers that no user sees, is given a copy of, or may switch off; and that
/// fire whatever `session_replication_role` says.
fn add_triggers(rel: pg_sys::Oid) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let table = qualified_name(rel);
    let lock = "FOR EACH STATEMENT EXECUTE FUNCTION shardman.lock_replicated_table()";
    let ship = "FOR EACH STATEMENT EXECUTE FUNCTION shardman.replicate_changes()";
    let (old, new) = ("OLD TABLE AS old_rows", "NEW TABLE AS new_rows");
    for clause in [
        format!("lock BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} {lock}"),
        format!("insert AFTER INSERT ON {table} REFERENCING {new} {ship}"),
        format!("update AFTER UPDATE ON {table} REFERENCING {old} {new} {ship}"),
        format!("delete AFTER DELETE ON {table} REFERENCING {old} {ship}"),
        format!("truncate AFTER TRUNCATE ON {table} {ship}"),
    ] {
        Spi::run(&format!("CREATE TRIGGER {TRIGGER_PREFIX}{clause}"))?;
    }
    Spi::run_with_args(
        "UPDATE pg_catalog.pg_trigger SET tgisinternal = true, tgenabled = 'A'
         WHERE tgrelid OPERATOR(pg_catalog.=) $1
           AND tgfoid OPERATOR(pg_catalog.=) ANY (ARRAY[
               'shardman.lock_replicated_table()'::pg_catalog.regprocedure,
               'shardman.replicate_changes()'::pg_catalog.regprocedure]::pg_catalog.oid[])",
        &[rel.into()],
    )?;
    // SAFETY: the table exists and is locked by us.
    unsafe {
        pg_sys::CacheInvalidateRelcacheByRelid(rel);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}

/// What can be told from the statement alone.
///
/// SAFETY: `statement` is a valid CreateStmt.
unsafe fn check_shape(statement: *mut pg_sys::CreateStmt) -> Result<(), Report> {
    // SAFETY: the caller's; the grammar's node types.
    unsafe {
        REPLICATED.check(statement)?;
        if !(*statement).partspec.is_null() {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "a replicated table cannot be partitioned",
            )
            .hint("Leave out PARTITION BY, or create a sharded table with distributed_by."));
        }
    }
    Ok(())
}
