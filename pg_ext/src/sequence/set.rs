//! `setval` of a managed sequence: every node goes on from there.
#![allow(unsafe_code)]

use cluster::metadata::{MetadataCommand, SequenceBlock};
use pgrx::prelude::*;

use super::bounds::bounds_of;
use super::draw::{propose, set_native};
use super::{blocks, forget};
use crate::catalog::{ManagedSequence, registry};
use crate::lists::text;
use crate::report::{OrRaise, Report};

/// `shardman.setval(regclass, bigint)`.
#[pg_extern(sql = false)]
fn setval(rel: pg_sys::Oid, value: i64) -> i64 {
    set(rel, value, true).or_raise()
}

/// `shardman.setval(regclass, bigint, boolean)`.
#[pg_extern(sql = false)]
fn setval_is_called(rel: pg_sys::Oid, value: i64, is_called: bool) -> i64 {
    set(rel, value, is_called).or_raise()
}

fn set(rel: pg_sys::Oid, value: i64, is_called: bool) -> Result<i64, Report> {
    // SAFETY: a guarded call; any OID can be locked.
    unsafe { pg_sys::LockRelationOid(rel, pg_sys::RowExclusiveLock as i32) };
    let known = registry()?;
    match known.sequence(rel) {
        Some(sequence) => set_managed(sequence, value, is_called)?,
        None => {
            // SAFETY: a guarded call of a function of (oid, bigint, boolean).
            unsafe {
                pgrx::direct_function_call_as_datum(
                    pg_sys::setval3_oid,
                    &[rel.into_datum(), value.into_datum(), is_called.into_datum()],
                );
            }
        }
    }
    Ok(value)
}

fn set_managed(sequence: &ManagedSequence, value: i64, is_called: bool) -> Result<(), Report> {
    let rel = sequence.rel;
    // SAFETY: syscache look-ups; a palloc'd name or null; these raise what
    // PostgreSQL's own setval raises.
    let name = unsafe {
        let name = text(pg_sys::get_rel_name(rel));
        let rights = pg_sys::ACL_UPDATE as pg_sys::AclMode;
        let result = pg_sys::pg_class_aclcheck(rel, pg_sys::GetUserId(), rights);
        if result != pg_sys::AclResult::ACLCHECK_OK {
            let denied = format!("permission denied for sequence {name}");
            let code = PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE;
            return Err(Report::new(code, denied));
        }
        pg_sys::PreventCommandIfReadOnly(c"setval()".as_ptr());
        pg_sys::PreventCommandIfParallelMode(c"setval()".as_ptr());
        name
    };
    let bounds = bounds_of(sequence)?;
    if !bounds.contains(value) {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!(
                "setval: value {value} is out of bounds for sequence \"{name}\" ({}..{})",
                bounds.min, bounds.max
            ),
        ));
    }
    let next = if is_called { bounds.after(value) } else { Some(value) };
    let command = MetadataCommand::SetSequence {
        sequence: sequence.id,
        bounds,
        next,
        count: sequence.block_size,
    };
    let block = propose(command)?.unwrap_or(SequenceBlock { first: value, count: 0 });
    blocks::take_up(rel, sequence.id, block.count, || {
        set_native(rel, value, is_called);
        Ok(())
    })?;
    forget::on_other_nodes(sequence.id)
}
