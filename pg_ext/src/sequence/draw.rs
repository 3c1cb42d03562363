//! `nextval` of a managed sequence.
#![allow(unsafe_code)]

use std::cell::Cell;

use cluster::metadata::{MetadataCommand, Outcome, Refusal, SequenceBlock, SequenceBounds};
use pgrx::prelude::*;
use raft::{Request, Response};

use super::blocks;
use super::bounds::bounds_of;
use super::identity::is_identity_call;
use crate::catalog::{ActingAs, ManagedSequence, qualified_name, registry};
use crate::lists::text;
use crate::report::{OrRaise, Report};
use crate::{compat, worker};

/// How often a block is taken again whose answer was lost on the way.
const ATTEMPTS: u32 = 3;
/// Nobody else locks a relation as an object of a database with this part.
const REFILL: u16 = 1;

thread_local! {
    /// The sequence that this transaction has locked last.
    static LOCKED: Cell<(pg_sys::Oid, pg_sys::LocalTransactionId)> =
        const { Cell::new((pg_sys::InvalidOid, 0)) };
}

unsafe extern "C-unwind" {
    fn nextval_internal(rel: pg_sys::Oid, check_permissions: bool) -> i64;
}

/// `shardman.nextval(regclass)`: what PostgreSQL's own is replaced by.
#[pg_extern(sql = false)]
fn nextval(rel: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) -> i64 {
    // SAFETY: the call that is being answered.
    let checks_permissions = unsafe { !is_identity_call(fcinfo) };
    next_value(rel, checks_permissions).or_raise()
}

fn next_value(rel: pg_sys::Oid, checks_permissions: bool) -> Result<i64, Report> {
    lock(rel);
    let known = registry()?;
    let Some(sequence) = known.sequence(rel) else { return Ok(native(rel, checks_permissions)) };
    let next = || Ok(native(rel, checks_permissions));
    loop {
        if let Some(value) = blocks::draw(rel, sequence.id, next)? {
            return Ok(value);
        }
        if checks_permissions {
            may_draw(rel)?;
        }
        refill(sequence)?;
    }
}

/// `shardman.unused_value(regclass)`: for dumps.
#[pg_extern(sql = false)]
fn unused_value(rel: pg_sys::Oid) -> i64 {
    let taken = || {
        may_draw(rel)?;
        let known = registry()?;
        match known.sequence(rel) {
            Some(sequence) => take_value(sequence, &bounds_of(sequence)?),
            None => Ok(native(rel, true)),
        }
    };
    taken().or_raise()
}

/// A value that is given to nobody else, for a sequence whose parameters change.
pub fn take_value(sequence: &ManagedSequence, bounds: &SequenceBounds) -> Result<i64, Report> {
    let block = take_block(sequence, bounds, 1)?;
    Ok(block.map_or(bounds.max, |block| block.first))
}

/// PostgreSQL's own counting.
fn native(rel: pg_sys::Oid, checks_permissions: bool) -> i64 {
    // SAFETY: a guarded call of a function that takes any OID.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| nextval_internal(rel, checks_permissions)) }
}

/// The lock that PostgreSQL's nextval takes itself, once a transaction: not to
/// be waited for under a lightweight lock. It conflicts with ALTER and DROP.
fn lock(rel: pg_sys::Oid) {
    let mine = (rel, compat::local_transaction_id());
    if LOCKED.get() == mine {
        return;
    }
    // SAFETY: a guarded call; any OID can be locked.
    unsafe { pg_sys::LockRelationOid(rel, pg_sys::RowExclusiveLock as i32) };
    LOCKED.set(mine);
}

fn may_draw(rel: pg_sys::Oid) -> Result<(), Report> {
    // SAFETY: syscache look-ups; a palloc'd name or null.
    let (allowed, name) = unsafe {
        let rights = (pg_sys::ACL_USAGE | pg_sys::ACL_UPDATE) as pg_sys::AclMode;
        let result = pg_sys::pg_class_aclcheck(rel, pg_sys::GetUserId(), rights);
        (result == pg_sys::AclResult::ACLCHECK_OK, text(pg_sys::get_rel_name(rel)))
    };
    if allowed {
        return Ok(());
    }
    let denied = format!("permission denied for sequence {name}");
    Err(Report::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, denied))
}

/// Takes a new block, unless somebody else on this node just has.
fn refill(sequence: &ManagedSequence) -> Result<(), Report> {
    let rel = sequence.rel;
    let mode = pg_sys::ExclusiveLock as i32;
    // SAFETY: guarded calls; an error on the way releases the lock with the
    // (sub)transaction.
    unsafe { pg_sys::LockDatabaseObject(pg_sys::RelationRelationId, rel, REFILL, mode) };
    let is_there = blocks::has_values(rel, sequence.id);
    if !is_there {
        let bounds = bounds_of(sequence)?;
        let Some(block) = take_block(sequence, &bounds, sequence.block_size)? else {
            return Err(exhausted(rel, &bounds));
        };
        blocks::take_up(rel, sequence.id, block.count, || {
            set_native(rel, block.first, false);
            Ok(())
        })?;
    }
    // SAFETY: taken above.
    unsafe { pg_sys::UnlockDatabaseObject(pg_sys::RelationRelationId, rel, REFILL, mode) };
    Ok(())
}

/// PostgreSQL's own setval. Whoever may draw a value may not set the sequence:
/// what is set here is the extension's doing.
pub fn set_native(rel: pg_sys::Oid, value: i64, is_called: bool) {
    let _acting = ActingAs::owner_of_the_catalogs();
    // SAFETY: a guarded call of a function of (oid, bigint, boolean).
    unsafe {
        pgrx::direct_function_call_as_datum(
            pg_sys::setval3_oid,
            &[rel.into_datum(), value.into_datum(), is_called.into_datum()],
        );
    }
}

/// `None` if the sequence is at its end.
fn take_block(
    sequence: &ManagedSequence,
    bounds: &SequenceBounds,
    count: u32,
) -> Result<Option<SequenceBlock>, Report> {
    let command =
        MetadataCommand::TakeSequenceBlock { sequence: sequence.id, bounds: *bounds, count };
    propose(command)
}

/// Has the log hand out a block.
pub fn propose(command: MetadataCommand) -> Result<Option<SequenceBlock>, Report> {
    let request = Request::Propose(command);
    let mut attempt = 1;
    loop {
        match worker::ask(&request) {
            Ok(Response::Proposed { outcome: Outcome::SequenceBlock(block), .. }) => {
                return Ok(Some(block));
            }
            Ok(Response::Proposed {
                outcome: Outcome::Refused(Refusal::SequenceExhausted),
                ..
            }) => {
                return Ok(None);
            }
            Ok(_) => {
                return Err(Report::new(
                    PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                    "the metadata worker gave an unexpected answer",
                ));
            }
            // A block that was taken without our knowing is a gap.
            Err(report)
                if attempt < ATTEMPTS
                    && report.code == PgSqlErrorCode::ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN =>
            {
                attempt += 1;
            }
            Err(report) => return Err(report),
        }
    }
}

fn exhausted(rel: pg_sys::Oid, bounds: &SequenceBounds) -> Report {
    let name = qualified_name(rel);
    let (what, end) = match bounds.increment > 0 {
        true => ("maximum", bounds.max),
        false => ("minimum", bounds.min),
    };
    Report::new(
        PgSqlErrorCode::ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED,
        format!("nextval: reached {what} value of sequence {name} ({end})"),
    )
    .detail("All of its values have been handed out to the nodes of the cluster.")
}
