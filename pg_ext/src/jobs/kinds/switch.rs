//! The short transaction, on all nodes, that ends a long job.
#![allow(unsafe_code)]

use std::ffi::CString;

use pgrx::PgTryBuilder;
use pgrx::prelude::*;

use crate::catalog::{ActingAs, registry};
use crate::jobs::trouble::caught;
use crate::membership::my_identity;
use crate::report::Report;

/// So long it waits for a lock, on any node, before it gives up: everyone who
/// comes later would wait behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";

/// Runs managed DDL as the job's owner, in the present transaction. 55P03 if a
/// lock is not to be had soon, or a partition is on the move: to be tried again.
pub fn run_as(owner: &str, sql: &str) -> Result<(), Report> {
    let name = CString::new(owner).unwrap_or_default();
    // SAFETY: a syscache look-up by a NUL-terminated name.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    if role == pg_sys::InvalidOid {
        let code = PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT;
        return Err(Report::new(code, format!("role \"{owner}\" does not exist any more")));
    }
    let _acting = ActingAs::user(role);
    let me = my_identity()?.node_id;
    let registry = registry()?;
    let others = registry.members().iter().filter(|member| member.is_active && member.id != me);
    let others: Vec<_> = others.map(|member| member.id).collect();
    Spi::run(LOCK_TIMEOUT)?;
    fdw::session::execute_on_all(&others, LOCK_TIMEOUT)?;
    PgTryBuilder::new(|| Ok(Spi::run(sql)?))
        .catch_when(PgSqlErrorCode::ERRCODE_OBJECT_IN_USE, |error| {
            let mut report = caught(error);
            report.code = PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE;
            Err(report)
        })
        .execute()
}
