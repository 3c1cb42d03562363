//! The place of a session in the registry, and the lease by which code uses it.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::{Session, Target};
use crate::error::{Error, Refusal};

enum Content {
    Empty,
    Leased,
    Present(Box<Session>),
}

/// Holds the session of one target. The `RefCell` is borrowed only to take the
/// session out and to put it back.
pub struct Slot {
    /// What it is with.
    pub target: Target,
    content: RefCell<Content>,
}

/// A session taken out of its slot; back when dropped, also while unwinding.
pub struct Lease {
    slot: Rc<Slot>,
    session: Option<Box<Session>>,
}

impl Slot {
    /// An empty one.
    pub fn new(target: Target) -> Rc<Slot> {
        Rc::new(Slot { target, content: RefCell::new(Content::Empty) })
    }

    /// The session, or `None` if there is none.
    pub fn try_lease(self: &Rc<Slot>) -> Result<Option<Lease>, Error> {
        match self.content.replace(Content::Leased) {
            Content::Present(session) => {
                Ok(Some(Lease { slot: self.clone(), session: Some(session) }))
            }
            Content::Empty => {
                self.content.replace(Content::Empty);
                Ok(None)
            }
            Content::Leased => {
                Err(Refusal::internal("a remote session was used while it was in use").into())
            }
        }
    }

    /// The session; an error if there is none.
    pub fn lease(self: &Rc<Slot>) -> Result<Lease, Error> {
        self.try_lease()?.ok_or_else(|| Refusal::internal("a remote session is missing").into())
    }

    /// Fills the slot.
    pub fn put(&self, session: Session) {
        self.content.replace(Content::Present(Box::new(session)));
    }
}

impl Lease {
    /// Closes the session and leaves the slot empty.
    pub fn discard(mut self) {
        if let Some(mut session) = self.session.take() {
            session.connection.terminate();
        }
        self.slot.content.replace(Content::Empty);
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        // Some until `discard` or `drop`, which consume the lease.
        self.session.as_ref().expect("a lease holds its session")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("a lease holds its session")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.slot.content.replace(Content::Present(session));
        }
    }
}
