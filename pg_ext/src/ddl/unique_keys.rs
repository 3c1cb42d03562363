//! Keys of a sharded table must contain its distribution columns.
#![allow(unsafe_code)]

use pgrx::prelude::*;

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
    let Some(missing) = distribution.iter().find(|column| !keys.contains(column)) else {
        return Ok(());
    };
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("{kind} constraint on a sharded table must include all distribution columns"),
    )
    .detail(format!("Constraint on ({}) lacks column \"{missing}\".", keys.join(", ")))
    .hint("Rows that differ in the distribution column may lie on different nodes, and each node can check its own rows only. Add the column to the constraint, or distribute by a column of the constraint."))
}
