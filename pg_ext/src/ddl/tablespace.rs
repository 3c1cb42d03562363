//! CREATE and DROP TABLESPACE on every node.
#![allow(unsafe_code)]

use cluster::LogIndex;
use cluster::jobs::JobKind;
use pgrx::prelude::*;

use super::concurrently::check_alone;
use super::requested::print_parameter;
use super::step::Step;
use crate::jobs::submit_and_wait;
use crate::lists::{elements, text};
use crate::membership::{current_user, my_identity_if_any};
use crate::report::Report;
use crate::settings;
use crate::worker::ask_log;

/// In a location, where the node's id is to stand.
const NODE: &str = "{rgid}";
/// The option that asks for every node.
const GLOBAL: &str = "global";

/// A tablespace is made on every node if its location says where on each, if
/// it is asked for by WITH (global), or if all DDL is to reach every node.
///
/// # Safety
/// `statement` is a valid CreateTableSpaceStmt.
pub unsafe fn before_create(
    statement: *mut pg_sys::CreateTableSpaceStmt,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    if my_identity_if_any()?.is_none() {
        return Ok(Step::Pass);
    }
    // SAFETY: the caller's; the grammar makes a list of DefElem and a RoleSpec
    // or null.
    unsafe {
        let (name, location) = (text((*statement).tablespacename), text((*statement).location));
        let options: Vec<_> = elements::<pg_sys::DefElem>((*statement).options).collect();
        let is_global = options.iter().any(|option| text((**option).defname) == GLOBAL);
        if !is_global && !location.contains(NODE) && !settings::broadcast_ddl() {
            return Ok(Step::Pass);
        }
        if !pg_sys::superuser() {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied to create tablespace \"{name}\""),
            )
            .hint("Must be superuser to create a tablespace."));
        }
        check_alone(context, c"CREATE TABLESPACE")?;
        let owner = match (*statement).owner.is_null() {
            true => current_user(),
            false => {
                let owner = pg_sys::get_rolespec_oid((*statement).owner, false);
                text(pg_sys::GetUserNameFromId(owner, false))
            }
        };
        let options = options.into_iter().filter(|option| text((**option).defname) != GLOBAL);
        let options = options.map(|option| {
            print_parameter(&cluster::sharding::StorageParameter {
                namespace: None,
                name: text((*option).defname),
                value: (!(*option).arg.is_null()).then(|| text(pg_sys::defGetString(option))),
            })
        });
        let options = options.collect();
        submit_and_wait(JobKind::CreateTablespace { name, owner, location, options })?;
    }
    Ok(Step::DoneAs(pg_sys::CommandTag::CMDTAG_CREATE_TABLESPACE))
}

/// What was made on every node is dropped there.
///
/// # Safety
/// `statement` is a valid DropTableSpaceStmt.
pub unsafe fn before_drop(
    statement: *mut pg_sys::DropTableSpaceStmt,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    if my_identity_if_any()?.is_none() {
        return Ok(Step::Pass);
    }
    // SAFETY: the caller's.
    let name = unsafe { text((*statement).tablespacename) };
    let (_, metadata) = ask_log(LogIndex(0), std::time::Duration::ZERO)?;
    if !metadata.jobs().has_tablespace(&name) {
        return Ok(Step::Pass);
    }
    let c_name = std::ffi::CString::new(&*name).unwrap_or_default();
    // SAFETY: guarded look-ups; the name lives through the call.
    unsafe {
        let tablespace = pg_sys::get_tablespace_oid(c_name.as_ptr(), true);
        if tablespace != pg_sys::InvalidOid
            && !pg_sys::pg_tablespace_ownercheck(tablespace, pg_sys::GetUserId())
        {
            let code = PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE;
            return Err(Report::new(code, format!("must be owner of tablespace {name}")));
        }
        check_alone(context, c"DROP TABLESPACE")?;
    }
    submit_and_wait(JobKind::DropTablespace { name })?;
    Ok(Step::DoneAs(pg_sys::CommandTag::CMDTAG_DROP_TABLESPACE))
}
