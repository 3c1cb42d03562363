//! Which nodes a transaction means when it writes to all of them.
//!
//! The metadata log counts the changes of the set of active nodes. A transaction
//! that writes replicated tables does so by the count that it found when its first
//! writer lock was granted, and sends it along. A node that knows of a later change
//! refuses its part, at the latest at PREPARE, and the coordinator looks again before
//! it decides: a node that has become active meanwhile would miss the changes, since
//! it waited for writers at another home than this one did.
#![allow(unsafe_code)]

use std::cell::Cell;

use pgrx::prelude::*;

use crate::catalog::registry;
use crate::compat;
use crate::report::Report;
use crate::schema_change;

/// A count, and the transaction of this backend that it is for.
#[derive(Clone, Copy)]
struct Noted {
    transaction: pg_sys::LocalTransactionId,
    epoch: u64,
}

impl Noted {
    const NONE: Noted = Noted { transaction: 0, epoch: 0 };

    fn of_now(self) -> Option<u64> {
        (self.transaction == compat::local_transaction_id()).then_some(self.epoch)
    }
}

thread_local! {
    /// Of the transaction that this backend coordinates.
    static WRITING: Cell<Noted> = const { Cell::new(Noted::NONE) };
    /// Of the one that it has a part of.
    static RECEIVED: Cell<Noted> = const { Cell::new(Noted::NONE) };
}

/// The writer locks that this transaction asked for are granted, by the members of
/// the registry now.
pub fn begin_writing() -> Result<(), Report> {
    let now = registry()?.epoch();
    match WRITING.get().of_now() {
        Some(epoch) if epoch != now => Err(changed()),
        Some(_) => Ok(()),
        None => {
            let transaction = compat::local_transaction_id();
            WRITING.set(Noted { transaction, epoch: now });
            Ok(())
        }
    }
}

/// What goes with changes.
pub fn to_send() -> Result<u64, Report> {
    match WRITING.get().of_now() {
        Some(epoch) => Ok(epoch),
        None => Ok(registry()?.epoch()),
    }
}

/// Before the commit is decided.
pub fn check_before_decision() -> Result<(), Report> {
    check(WRITING.get().of_now())
}

/// Changes have come that were sent by this count.
pub fn receive(epoch: u64) -> Result<(), Report> {
    let transaction = compat::local_transaction_id();
    let earlier = RECEIVED.get().of_now().unwrap_or(epoch);
    RECEIVED.set(Noted { transaction, epoch: earlier.min(epoch) });
    check(Some(earlier.min(epoch)))
}

/// Before this node's part is prepared. A node that stood still may have been
/// marked down: it prepares nothing before a majority has confirmed that it was not.
pub fn check_before_prepare() -> Result<(), Report> {
    let received = RECEIVED.get().of_now();
    if received.is_some() && !schema_change::is_serving() {
        schema_change::wait_until_served()?;
    }
    check(received)
}

fn check(epoch: Option<u64>) -> Result<(), Report> {
    let Some(epoch) = epoch else { return Ok(()) };
    // SAFETY: in a transaction, with nothing open that a change of the catalogues
    // could pull away.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    if registry()?.epoch() > epoch { Err(changed()) } else { Ok(()) }
}

fn changed() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "the nodes that keep replicated tables have changed",
    )
    .detail("A node was marked down, has come back, joined or left since the transaction began to write them.")
    .hint("Retry the transaction.")
}
