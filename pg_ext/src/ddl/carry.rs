//! A user's statement that runs on every node as it was written.
#![allow(unsafe_code)]

use std::ffi::CStr;

use cluster::TableId;
use cluster::ddl::{CarriedStatement, Elsewhere, ForeignLeaves, OnSharded, coverage_of};
use cluster::sharding::{ForeignKeyDefinition, NodeCommand, quote_identifier};
use pgrx::prelude::*;

use super::add_serial::{self, AddedSerials};
use super::align::align;
use super::aside::Aside;
use super::foreign_keys::{self, LeftOut, Taken};
use super::managed_role::concerns_managed_role;
use super::meaning::{current_settings, set};
use super::role_password::{Password, password_of};
use super::row_dependence::needs_every_node;
use super::sequences::SequenceChange;
use super::step::{Finish, Step};
use super::target::sharded_target;
use super::temporary::is_temporary;
use super::{OwnWork, alter_table, is_broadcasting, lock_ddl, sequences};
use crate::catalog::{ActingAs, definition_of, qualified_name, registry};
use crate::moving::tables_not_while_moving;
use crate::node_session::is_node_session;
use crate::peers;
use crate::replicated;
use crate::report::Report;
use crate::row_log;
use crate::settings;

/// A statement that PostgreSQL is about to run here.
pub struct CarriedHere {
    carried: CarriedStatement,
    table: Option<pg_sys::Oid>,
    aside: Option<Aside>,
    constraints_before: Vec<pg_sys::Oid>,
    password: Option<Password>,
    sequence: Option<SequenceChange>,
    serials: Option<AddedSerials>,
    /// Those that the statement adds.
    foreign_keys: Taken,
    /// Nothing is left of the statement without them.
    is_foreign_keys_only: bool,
    /// Those that are away while it runs.
    dropped: Vec<(TableId, Vec<ForeignKeyDefinition>)>,
    /// Nodes may have come to other values for the rows of a replicated table.
    sends_rows: bool,
}

/// Looks at a statement that no other part of managed DDL has taken.
///
/// # Safety
/// `pstmt` is a valid utility statement of `query`, NUL-terminated.
pub unsafe fn before(
    pstmt: *mut pg_sys::PlannedStmt,
    query: *const std::ffi::c_char,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    // SAFETY: the caller's; `creating_extension` is a backend variable.
    unsafe {
        let statement = (*pstmt).utilityStmt;
        let is_part = context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND;
        if is_part || pg_sys::creating_extension {
            return Ok(Step::Pass);
        }
        let tag = pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(statement));
        let tag = CStr::from_ptr(tag).to_string_lossy();
        let Some(coverage) = coverage_of(&tag) else { return Ok(Step::Pass) };
        let table = sharded_target(statement)?;
        if is_lock_for_reading(statement) {
            return Ok(Step::Pass);
        }
        match (table, coverage.on_sharded, coverage.elsewhere) {
            (Some(_), OnSharded::EveryNode, _) if !settings::sync_schema() => Ok(Step::Pass),
            (Some(_), OnSharded::EveryNode, _) => carry(pstmt, query, table, &tag),
            (Some(_), OnSharded::Refused, _) => Err(not_on_sharded(&tag, coverage.note)),
            (Some(_), _, _) => Ok(Step::Pass),
            (None, OnSharded::EveryNode, _)
                if settings::sync_schema() && sequences::named_sequences(statement)? =>
            {
                carry(pstmt, query, None, &tag)
            }
            (None, _, Elsewhere::Broadcast)
                if settings::broadcast_ddl() && !is_temporary(statement)
                    || settings::sync_schema() && concerns_managed_role(statement) =>
            {
                carry(pstmt, query, None, &tag)
            }
            (None, _, _) => {
                foreign_keys::refuse_reference_from_outside(statement)?;
                Ok(Step::Pass)
            }
        }
    }
}

/// LOCK TABLE in the mode that SELECT takes keeps off only what needs this
/// node's copy of the table, too. pg_dump does so, in a read-only transaction.
unsafe fn is_lock_for_reading(statement: *mut pg_sys::Node) -> bool {
    // SAFETY: the tag names the struct.
    unsafe {
        (*statement).type_ == pg_sys::NodeTag::T_LockStmt
            && (*statement.cast::<pg_sys::LockStmt>()).mode == pg_sys::AccessShareLock as i32
    }
}

/// SAFETY: as for `before`.
unsafe fn carry(
    pstmt: *mut pg_sys::PlannedStmt,
    query: *const std::ffi::c_char,
    table: Option<pg_sys::Oid>,
    tag: &str,
) -> Result<Step, Report> {
    if is_broadcasting() && table.is_none() {
        return Ok(Step::Pass);
    }
    if is_node_session() || is_broadcasting() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot run {tag} on a sharded table inside a statement that runs on another node or in a broadcast"),
        )
        .detail("It would have to reach every node from here.")
        .hint("Run it from the session that the client is connected to."));
    }
    if registry()?.members().is_empty() {
        return Ok(Step::Pass);
    }
    // SAFETY: the caller's.
    let (statement, node) = unsafe { (statement_text(pstmt, query), (*pstmt).utilityStmt) };
    if tag != "LOCK TABLE" {
        lock_ddl()?;
    }
    let mut here = CarriedHere {
        carried: CarriedStatement {
            statement,
            settings: current_settings(),
            table: None,
            foreign_leaves: ForeignLeaves::Reach,
            is_schema_change: tag != "LOCK TABLE",
            // SAFETY: the caller's.
            needs_every_node: unsafe { needs_every_node(node) },
            new_constraints: Vec::new(),
        },
        table,
        aside: None,
        constraints_before: Vec::new(),
        // SAFETY: the caller's.
        password: unsafe { password_of(node, pstmt) },
        // SAFETY: the tag names the struct.
        sequence: unsafe {
            match (*node).type_ {
                pg_sys::NodeTag::T_AlterSeqStmt => sequences::before_alter(node.cast(), false)?,
                _ => None,
            }
        },
        serials: None,
        foreign_keys: Taken::default(),
        is_foreign_keys_only: false,
        dropped: Vec::new(),
        sends_rows: false,
    };
    let mut rest = std::ptr::null_mut();
    if let Some(rel) = table {
        if tag == "ALTER TABLE" {
            tables_not_while_moving(&[rel])?;
            row_log::before_change(rel)?;
        }
        let registry = registry()?;
        here.carried.table = registry.managed_id(rel);
        let is_replicated = registry.replicated_of(rel).is_some();
        // SAFETY: the tags name the structs.
        unsafe {
            match (*node).type_ {
                pg_sys::NodeTag::T_AlterTableStmt if is_replicated => {
                    foreign_keys::refuse_reference_from_outside(node)?;
                    here.sends_rows = replicated::check_alter(node.cast())?;
                    here.dropped = foreign_keys::drop_around_type_change(node.cast(), rel)?;
                }
                pg_sys::NodeTag::T_AlterTableStmt => {
                    here.carried.foreign_leaves = alter_table::check(node.cast(), rel)?;
                    let start = usize::try_from((*pstmt).stmt_location).unwrap_or(0);
                    let text = &here.carried.statement;
                    here.serials = add_serial::write_out(node.cast(), rel, text, start)?;
                    here.dropped = foreign_keys::drop_around_type_change(node.cast(), rel)?;
                    let copy: *mut pg_sys::PlannedStmt =
                        pg_sys::copyObjectImpl(pstmt.cast()).cast();
                    if let Some(serials) = &here.serials {
                        here.carried.statement.clone_from(&serials.text);
                        (*copy).utilityStmt = serials.statement;
                    }
                    let alter: *mut pg_sys::AlterTableStmt = (*copy).utilityStmt.cast();
                    here.foreign_keys = foreign_keys::take_from_alter(alter)?;
                    if !here.foreign_keys.is_empty() {
                        here.is_foreign_keys_only = (*alter).cmds.is_null();
                    }
                    if !here.foreign_keys.is_empty() || here.serials.is_some() {
                        rest = copy;
                    }
                }
                // A row trigger belongs to the table that holds the row: with a
                // copy on the foreign leaf it would fire twice.
                pg_sys::NodeTag::T_CreateTrigStmt if !is_replicated => {
                    here.carried.foreign_leaves = ForeignLeaves::Hide;
                }
                _ => {}
            }
        }
        here.constraints_before = constraints_of(rel)?;
        here.aside = Aside::set(rel, here.carried.foreign_leaves)?;
    }
    Ok(Step::Run { statement: rest, finish: Some(Finish::Carry(Box::new(here))) })
}

impl CarriedHere {
    /// Brings the leaves in line and runs the same on the other nodes.
    pub fn finish(&self) -> Result<(), Report> {
        // SAFETY: makes visible what the statement did.
        unsafe { pg_sys::CommandCounterIncrement() };
        let is_new = self.table.map_or(Ok(false), sequences::register_owned)?;
        self.aside.as_ref().map_or(Ok(()), Aside::put_back)?;
        let mut carried = self.carried.clone();
        if let Some(rel) = self.table {
            carried.new_constraints = new_constraints(rel, &self.constraints_before)?;
            align()?;
            foreign_keys::follow()?;
            check_result(rel)?;
        }
        if let Some(password) = &self.password {
            carried.statement = password.hide(carried.statement)?;
        }
        if !self.is_foreign_keys_only {
            peers::tell_all(&NodeCommand::Carry(carried))?;
        }
        sequences::forget_dropped()?;
        self.serials.as_ref().map_or(Ok(()), AddedSerials::finish)?;
        if let (true, Some(rel), Some(table)) = (is_new, self.table, self.carried.table) {
            sequences::align_everywhere(rel, table)?;
        }
        for (table, keys) in &self.dropped {
            foreign_keys::add_defined_everywhere(*table, keys)?;
        }
        if let Some(rel) = self.table {
            foreign_keys::add(rel, &self.foreign_keys)?;
            if self.sends_rows {
                replicated::send_again(rel)?;
            }
        }
        self.sequence.as_ref().map_or(Ok(()), SequenceChange::finish)
    }
}

/// The same on a node that is told so, as the statement's user.
pub fn apply(carried: &CarriedStatement) -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    // SAFETY: a nest level that is left below; an abort leaves it too.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    carried.settings.iter().try_for_each(|(name, value)| set(name, value))?;
    let rel = match carried.table {
        Some(table) => Some(registry()?.managed_rel(table).ok_or_else(|| {
            Report::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                format!("table {table} of the cluster does not exist on this node"),
            )
        })?),
        None => None,
    };
    let before = rel.map(constraints_of).transpose()?.unwrap_or_default();
    let aside = rel.map(|rel| Aside::set(rel, carried.foreign_leaves)).transpose()?.flatten();
    {
        let _left_out = LeftOut::begin();
        Spi::run(&carried.statement)?;
    }
    // SAFETY: makes visible what the statement did.
    unsafe { pg_sys::CommandCounterIncrement() };
    aside.as_ref().map_or(Ok(()), Aside::put_back)?;
    if let Some(rel) = rel {
        name_alike(rel, &before, &carried.new_constraints)?;
        align()?;
        foreign_keys::follow()?;
    }
    sequences::forget_dropped()?;
    // SAFETY: the level of above.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    Ok(())
}

/// Gives the constraints that a statement added the names that they have on the
/// coordinator.
fn name_alike(rel: pg_sys::Oid, before: &[pg_sys::Oid], wanted: &[String]) -> Result<(), Report> {
    let got = new_constraints(rel, before)?;
    if got.len() != wanted.len() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("table {} differs between the nodes", qualified_name(rel)),
        )
        .detail(format!(
            "The statement made {} constraints on the node that took it and {} on this one.",
            wanted.len(),
            got.len()
        )));
    }
    let table = qualified_name(rel);
    for (got, wanted) in got.iter().zip(wanted).filter(|(got, wanted)| got != wanted) {
        let (got, wanted) = (quote_identifier(got), quote_identifier(wanted));
        Spi::run(&format!("ALTER TABLE {table} RENAME CONSTRAINT {got} TO {wanted}"))?;
    }
    Ok(())
}

/// Refuses a table that other nodes could not be given.
fn check_result(rel: pg_sys::Oid) -> Result<(), Report> {
    let registry = registry()?;
    if let Some(table) = registry.replicated_of(rel) {
        return replicated::check_result(table);
    }
    let Some(table) = registry.table_of(rel) else { return Ok(()) };
    definition_of(table).map(drop)
}

fn constraints_of(rel: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        "SELECT pg_catalog.array_agg(oid) FROM pg_catalog.pg_constraint
         WHERE conrelid OPERATOR(pg_catalog.=) $1",
        &[rel.into()],
    )?;
    Ok(found.unwrap_or_default())
}

fn new_constraints(rel: pg_sys::Oid, before: &[pg_sys::Oid]) -> Result<Vec<String>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<String>>(
        "SELECT pg_catalog.array_agg(conname::pg_catalog.text ORDER BY oid)
         FROM pg_catalog.pg_constraint
         WHERE conrelid OPERATOR(pg_catalog.=) $1 AND oid OPERATOR(pg_catalog.<>) ALL ($2)",
        &[rel.into(), before.to_vec().into()],
    )?;
    Ok(found.unwrap_or_default())
}

/// The statement's own part of the query string.
unsafe fn statement_text(
    pstmt: *mut pg_sys::PlannedStmt,
    query: *const std::ffi::c_char,
) -> String {
    // SAFETY: the caller's; location and length are bytes of the query string,
    // -1 for unknown and 0 for the rest.
    unsafe {
        let whole = CStr::from_ptr(query).to_bytes();
        let start = usize::try_from((*pstmt).stmt_location).unwrap_or(0).min(whole.len());
        let length = usize::try_from((*pstmt).stmt_len).unwrap_or(0);
        let end = if length == 0 { whole.len() } else { (start + length).min(whole.len()) };
        String::from_utf8_lossy(&whole[start..end]).into_owned()
    }
}

fn not_on_sharded(tag: &str, why: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("{tag} is not supported on sharded tables"),
    )
    .detail(format!("Reason: {why}."))
}
