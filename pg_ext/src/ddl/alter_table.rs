//! What `ALTER TABLE` may do to a sharded table.
#![allow(unsafe_code)]

use cluster::ddl::ForeignLeaves;
use pgrx::prelude::*;

use super::unique_keys::check_unique_key;
use crate::catalog::registry;
use crate::lists::{elements, text};
use crate::report::Report;

/// Checks an ALTER TABLE (or ALTER INDEX) of a sharded table, and tells what
/// becomes of foreign leaves.
///
/// # Safety
/// `statement` is a valid AlterTableStmt about the sharded table `rel`.
pub unsafe fn check(
    statement: *mut pg_sys::AlterTableStmt,
    rel: pg_sys::Oid,
) -> Result<ForeignLeaves, Report> {
    use pg_sys::AlterTableType as Alter;
    let registry = registry()?;
    let Some(table) = registry.table_of(rel) else { return Ok(ForeignLeaves::Reach) };
    let keys = &table.distribution_columns;
    let mut foreign_leaves = ForeignLeaves::Reach;
    // SAFETY: the grammar's node types.
    unsafe {
        for command in elements::<pg_sys::AlterTableCmd>((*statement).cmds) {
            let definition = (*command).def;
            match (*command).subtype {
                Alter::AT_AttachPartition
                | Alter::AT_DetachPartition
                | Alter::AT_DetachPartitionFinalize => {
                    return Err(refused("attach or detach partitions of a sharded table")
                        .detail("A sharded table has all its partitions from the start."));
                }
                Alter::AT_SetUnLogged => return Err(refused("make a sharded table unlogged")),
                Alter::AT_SetTableSpace => {
                    return Err(refused("set the tablespace of a sharded table")
                        .detail("A tablespace belongs to one server."));
                }
                Alter::AT_AddInherit
                | Alter::AT_DropInherit
                | Alter::AT_AddOf
                | Alter::AT_DropOf => {
                    return Err(refused("change the inheritance of a sharded table"));
                }
                Alter::AT_SetRelOptions | Alter::AT_ResetRelOptions
                    if (*statement).objtype == pg_sys::ObjectType::OBJECT_TABLE =>
                {
                    return Err(refused(
                        "change storage parameters of a sharded table together with other things",
                    )
                    .hint("Give SET or RESET a statement of its own."));
                }
                Alter::AT_AddConstraint => {
                    let constraint: *mut pg_sys::Constraint = definition.cast();
                    // PostgreSQL refuses unique indexes over foreign leaves.
                    if is_key(constraint, None, keys)? {
                        foreign_leaves = ForeignLeaves::Remake;
                    }
                }
                Alter::AT_AddColumn => {
                    let column: *mut pg_sys::ColumnDef = definition.cast();
                    for constraint in elements::<pg_sys::Constraint>((*column).constraints) {
                        if is_key(constraint, Some(text((*column).colname)), keys)? {
                            foreign_leaves = ForeignLeaves::Remake;
                        }
                    }
                }
                // PostgreSQL refuses USING for foreign leaves, and builds unique
                // indexes anew.
                Alter::AT_AlterColumnType => foreign_leaves = ForeignLeaves::Remake,
                _ => {}
            }
        }
    }
    Ok(foreign_leaves)
}

/// Whether a constraint is a key; refuses what cannot be enforced.
unsafe fn is_key(
    constraint: *mut pg_sys::Constraint,
    column: Option<String>,
    distribution: &[String],
) -> Result<bool, Report> {
    use pg_sys::ConstrType::*;
    // SAFETY: the caller's.
    unsafe {
        match (*constraint).contype {
            CONSTR_PRIMARY | CONSTR_UNIQUE => {
                let keys = elements::<pg_sys::String>((*constraint).keys);
                let keys = keys.map(|key| text((*key).sval));
                let keys: Vec<_> = column.into_iter().chain(keys).collect();
                check_unique_key(constraint, &keys, distribution)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

fn refused(what: &str) -> Report {
    Report::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, format!("cannot {what}"))
}
