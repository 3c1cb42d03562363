//! All sessions of this backend.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;

use super::callbacks;
use super::opening::{self, Destination};
use super::slot::Slot;
use super::{Session, Target};
use crate::backend::check_for_interrupts;
use crate::error::Error;

thread_local! {
    // Never dropped: at process exit PostgreSQL's memory is no longer to be touched.
    static SLOTS: ManuallyDrop<RefCell<Vec<Rc<Slot>>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
    static NEXT_ID: Cell<u64> = const { Cell::new(1) };
}

/// All slots, empty ones too.
pub fn slots() -> Vec<Rc<Slot>> {
    SLOTS.with(|slots| slots.borrow().clone())
}

/// The slots whose session is in a remote transaction.
pub fn participants() -> Vec<Rc<Slot>> {
    let in_transaction =
        |slot: &Rc<Slot>| matches!(slot.try_lease(), Ok(Some(session)) if session.depth > 0);
    let mut slots = slots();
    slots.retain(in_transaction);
    slots
}

/// The slot of a target with a usable session in it, opened if need be. Within
/// a remote transaction it is always the session that the transaction began on.
pub fn acquire(target: Target) -> Result<Rc<Slot>, Error> {
    let slot = find_or_add(target);
    if let Some(session) = slot.try_lease()? {
        if session.depth > 0 {
            session.check_usable()?;
            drop(session);
            return Ok(slot);
        }
        drop(session);
    }
    let destination = opening::destination(target)?;
    if let Some(mut session) = slot.try_lease()? {
        if session.generation == destination.generation && session.connection.check_alive() {
            drop(session);
            return Ok(slot);
        }
        session.discard();
    }
    let session = open(destination)?;
    slot.put(session);
    Ok(slot)
}

fn find_or_add(target: Target) -> Rc<Slot> {
    SLOTS.with(|slots| {
        let mut slots = slots.borrow_mut();
        if let Some(slot) = slots.iter().find(|s| s.target == target) {
            return slot.clone();
        }
        let slot = Slot::new(target);
        slots.push(slot.clone());
        slot
    })
}

fn open(destination: Destination) -> Result<Session, Error> {
    let id = NEXT_ID.with(|next| {
        let id = next.get();
        next.set(id + 1);
        id
    });
    if id == 1 {
        callbacks::say_goodbye_at_exit();
    }
    let mut attempt = destination.start()?;
    loop {
        match attempt.advance(id)? {
            Some(session) => return Ok(session),
            None => check_for_interrupts(),
        }
    }
}
