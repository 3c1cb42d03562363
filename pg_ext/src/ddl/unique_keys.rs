//! Keys of a sharded table must contain its distribution columns.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use crate::lists::{elements, text};
use crate::report::Report;

/// Refuses a PRIMARY KEY or UNIQUE over `keys` that lacks a distribution
/// column; any other constraint passes.
///
/// # Safety
/// `constraint` is a valid Constraint.
pub unsafe fn check_unique_key(
    constraint: *mut pg_sys::Constraint,
    keys: &[String],
    distribution: &[String],
) -> Result<(), Report> {
    use pg_sys::ConstrType::{CONSTR_PRIMARY, CONSTR_UNIQUE};
    // SAFETY: the caller's.
    let kind = match unsafe { (*constraint).contype } {
        CONSTR_PRIMARY => "primary key",
        CONSTR_UNIQUE => "unique",
        _ => return Ok(()),
    };
    // SAFETY: the caller's.
    if unsafe { !(*constraint).indexname.is_null() } {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "ADD CONSTRAINT USING INDEX is not supported on sharded tables",
        )
        .detail("PostgreSQL has it for tables without partitions only.")
        .hint("Add the constraint with its columns, and drop the index."));
    }
    must_include(kind, keys, distribution)
}

/// The same for an index.
///
/// # Safety
/// `statement` is a valid IndexStmt.
pub unsafe fn check_unique_index(
    statement: *mut pg_sys::IndexStmt,
    distribution: &[String],
) -> Result<(), Report> {
    // SAFETY: the caller's; a list of IndexElem, without a name for expressions.
    unsafe {
        if !(*statement).unique {
            return Ok(());
        }
        let keys = elements::<pg_sys::IndexElem>((*statement).indexParams);
        let keys: Vec<_> = keys.map(|key| text((*key).name)).filter(|k| !k.is_empty()).collect();
        must_include("unique", &keys, distribution)
    }
}

fn must_include(kind: &str, keys: &[String], distribution: &[String]) -> Result<(), Report> {
    let Some(missing) = distribution.iter().find(|column| !keys.contains(column)) else {
        return Ok(());
    };
    let lacking = match keys {
        [] => "An index of expressions".to_owned(),
        keys => format!("Constraint on ({})", keys.join(", ")),
    };
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("{kind} constraint on a sharded table must include all distribution columns"),
    )
    .detail(format!("{lacking} lacks column \"{missing}\"."))
    .hint("Rows that differ in the distribution column may lie on different nodes, and each node can check its own rows only. Add the column to the constraint, or distribute by a column of the constraint."))
}
