//! What `ALTER TABLE` may do to a replicated table.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::definition::TRIGGER_PREFIX;
use super::key::Key;
use crate::catalog::{
    ActingAs, ReplicatedTable, definition_of_replicated, qualified_name, registry,
};
use crate::ddl::{is_serial, relation_of};
use crate::lists::{elements, text};
use crate::report::Report;
use crate::row_log;

/// Refuses what would make copies differ. Returns whether each node may come to
/// other values for the rows that are there: then they are to be sent again.
///
/// # Safety
/// `statement` is a valid AlterTableStmt about a replicated table.
pub unsafe fn check_alter(statement: *mut pg_sys::AlterTableStmt) -> Result<bool, Report> {
    use pg_sys::AlterTableType as Alter;
    let mut may_differ = false;
    // SAFETY: the grammar's node types.
    unsafe {
        for command in elements::<pg_sys::AlterTableCmd>((*statement).cmds) {
            match (*command).subtype {
                Alter::AT_SetUnLogged => return Err(refused("make a replicated table unlogged")),
                Alter::AT_SetTableSpace => {
                    return Err(refused("set the tablespace of a replicated table")
                        .detail("A tablespace belongs to one server."));
                }
                Alter::AT_AddInherit
                | Alter::AT_DropInherit
                | Alter::AT_AddOf
                | Alter::AT_DropOf
                | Alter::AT_AttachPartition => {
                    return Err(refused("change the inheritance of a replicated table"));
                }
                Alter::AT_AddColumn if is_serial((*command).def.cast()) => {
                    return Err(refused("add a serial column to a replicated table")
                        .detail("Each node would number its rows by itself.")
                        .hint("Add the column without default, fill it by UPDATE, then ALTER COLUMN … ADD GENERATED."));
                }
                Alter::AT_EnableTrig
                | Alter::AT_EnableAlwaysTrig
                | Alter::AT_EnableReplicaTrig
                | Alter::AT_DisableTrig
                    if text((*command).name).starts_with(TRIGGER_PREFIX) =>
                {
                    return Err(keeps_copies_equal());
                }
                Alter::AT_EnableTrigAll | Alter::AT_DisableTrigAll => {
                    return Err(keeps_copies_equal()
                        .hint("Name the triggers, or use DISABLE TRIGGER USER."));
                }
                Alter::AT_AddColumn => {
                    let column: *mut pg_sys::ColumnDef = (*command).def.cast();
                    may_differ |= elements::<pg_sys::Constraint>((*column).constraints)
                        .any(|constraint| is_computed((*constraint).raw_expr));
                }
                Alter::AT_AlterColumnType => {
                    let column: *mut pg_sys::ColumnDef = (*command).def.cast();
                    may_differ |= is_computed((*column).raw_default);
                }
                _ => {}
            }
        }
    }
    // SAFETY: the caller's.
    let rel = unsafe { relation_of((*statement).relation) };
    if may_differ && rel.is_some_and(|rel| registry().is_ok_and(|it| it.logged_of(rel).is_some())) {
        return Err(refused("compute values for the rows of a table with a log")
            .detail("Each node would come to values of its own.")
            .hint("Add the column without default, fill it by UPDATE, then set the default."));
    }
    Ok(may_differ)
}

/// Whether an expression is more than a constant: `random()` gives each node
/// another value.
unsafe fn is_computed(expression: *mut pg_sys::Node) -> bool {
    // SAFETY: null or a valid node of the grammar's.
    unsafe {
        !expression.is_null()
            && match (*expression).type_ {
                pg_sys::NodeTag::T_A_Const => false,
                pg_sys::NodeTag::T_TypeCast => {
                    is_computed((*expression.cast::<pg_sys::TypeCast>()).arg)
                }
                _ => true,
            }
    }
}

/// Looks at the table that a statement has left: its key must be there, and
/// nodes must be able to get it.
pub fn check_result(table: ReplicatedTable) -> Result<(), Report> {
    Key::of_table(table.rel)?;
    if table.log.is_some() {
        row_log::check_table(table.rel)?;
    }
    let keys = definition_of_replicated(table)?.foreign_keys;
    let _acting = ActingAs::owner_of_the_catalogs();
    let references = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        "SELECT pg_catalog.array_agg(confrelid) FROM pg_catalog.pg_constraint
         WHERE conrelid OPERATOR(pg_catalog.=) $1 AND contype OPERATOR(pg_catalog.=) 'f'",
        &[table.rel.into()],
    )?;
    let registry = registry()?;
    let references = references.unwrap_or_default();
    match references.iter().find(|rel| registry.triggered_of(**rel).is_none()) {
        None if references.len() == keys.len() => Ok(()),
        other => {
            let other = other.map(|rel| qualified_name(*rel)).unwrap_or_default();
            Err(refused("reference a table that is not replicated from a replicated table")
                .detail(format!("Table {other} does not have all its rows on every node."))
                .hint("Create the other table WITH (replicated)."))
        }
    }
}

fn keeps_copies_equal() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        "cannot switch the triggers that keep copies of a replicated table equal",
    )
}

fn refused(what: &str) -> Report {
    Report::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, format!("cannot {what}"))
}
