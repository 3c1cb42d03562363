//! All sessions of this backend.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;

use super::callbacks;
use super::idle;
use super::opening::{self, Destination};
use super::slot::Slot;
use super::{Session, Target};
use crate::backend::check_for_interrupts;
use crate::error::Error;
use crate::transport::{Interrupts, Stop, wait_for_any};

thread_local! {
    // Never dropped: at process exit PostgreSQL's memory is no longer to be touched.
    static SLOTS: ManuallyDrop<RefCell<Vec<Rc<Slot>>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
    static ANNOUNCED: RefCell<Vec<Target>> = const { RefCell::new(Vec::new()) };
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

/// How many nodes of the cluster take part in the running transaction, besides
/// this one.
pub fn node_participants() -> usize {
    participants().iter().filter(|slot| matches!(slot.target, Target::Node(_))).count()
}

/// The slot of a target with a usable session in it, opened if need be. Within
/// a remote transaction it is always the session that the transaction began on.
pub fn acquire(target: Target) -> Result<Rc<Slot>, Error> {
    idle::begin_use();
    let slot = find_or_add(target);
    if let Some(destination) = needs_opening(&slot)? {
        let session = open(destination)?;
        slot.put(session);
    }
    Ok(slot)
}

/// How the session of a slot is to be opened; `None` if it can be used.
fn needs_opening(slot: &Rc<Slot>) -> Result<Option<Destination>, Error> {
    if let Some(session) = slot.try_lease()?
        && session.depth > 0
    {
        return session.check_usable().map(|()| None);
    }
    let generation = opening::generation(slot.target)?;
    if let Some(mut session) = slot.try_lease()? {
        if session.generation == generation && session.connection.check_alive() {
            return Ok(None);
        }
        session.discard();
    }
    opening::destination(slot.target).map(Some)
}

/// Notes that the running statement will need a session that is not there yet.
pub fn announce(target: Target) {
    if matches!(find_or_add(target).try_lease(), Ok(Some(_))) {
        return;
    }
    ANNOUNCED.with(|announced| {
        let mut announced = announced.borrow_mut();
        if !announced.contains(&target) {
            announced.push(target);
        }
    });
}

/// Forgets what has been announced: the statement is over.
pub fn forget_announced() {
    ANNOUNCED.with(|announced| announced.borrow_mut().clear());
}

/// Opens the sessions that were announced, all at the same time.
pub fn open_announced() -> Result<(), Error> {
    open_all(&ANNOUNCED.with(|announced| std::mem::take(&mut *announced.borrow_mut())))
}

/// Opens the sessions of several targets at the same time. One that cannot be
/// opened is left to [`acquire`], whose caller cannot do without it.
pub fn open_all(targets: &[Target]) -> Result<(), Error> {
    idle::begin_use();
    let mut attempts = Vec::new();
    for target in targets {
        let slot = find_or_add(*target);
        let attempt = match needs_opening(&slot) {
            Ok(Some(destination)) => destination.start(),
            _ => continue,
        };
        if let Ok(attempt) = attempt {
            attempts.push((slot, next_id(), attempt));
        }
    }
    loop {
        attempts.retain_mut(|(slot, id, attempt)| match attempt.poll(*id) {
            Ok(Some(session)) => {
                slot.put(session);
                false
            }
            Ok(None) => true,
            Err(_) => false,
        });
        let waits: Vec<_> = attempts.iter().filter_map(|(_, _, a)| a.waits_for()).collect();
        let Some(deadline) = waits.iter().map(|(_, _, deadline)| *deadline).min() else {
            return Ok(());
        };
        let sockets: Vec<_> = waits.iter().map(|(fd, readiness, _)| (*fd, *readiness)).collect();
        if let Err(Stop::Interrupted) = wait_for_any(&sockets, deadline, Interrupts::Heed) {
            check_for_interrupts();
        }
    }
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

fn next_id() -> u64 {
    let id = NEXT_ID.with(|next| next.replace(next.get() + 1));
    if id == 1 {
        callbacks::say_goodbye_at_exit();
    }
    id
}

fn open(destination: Destination) -> Result<Session, Error> {
    let id = next_id();
    let mut attempt = destination.start()?;
    loop {
        match attempt.advance(id)? {
            Some(session) => return Ok(session),
            None => check_for_interrupts(),
        }
    }
}
