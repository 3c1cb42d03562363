//! What this backend's transaction has done to the schema so far.
#![allow(unsafe_code)]

use std::cell::RefCell;

use cluster::NodeId;
use cluster::metadata::{DdlStep, DdlTail, TokenId};
use pgrx::prelude::*;

use crate::compat;

/// How far the decision has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was appended: the coordinator may roll everything back.
    Working,
    /// A complete entry may have been accepted: only the log knows.
    Asked,
    /// An intent may have been accepted: this transaction's own end decides.
    Intended,
}

/// The transaction that holds the token.
pub struct Change {
    /// The local transaction that this is about; void in the next one.
    transaction: pg_sys::LocalTransactionId,
    /// What it holds.
    pub token: TokenId,
    /// What was decided before.
    pub after: DdlTail,
    /// Members that do not take part; found out with the first step.
    pub missing: Option<Vec<NodeId>>,
    /// The subtransaction in which the others were told to take part.
    begun: Option<pg_sys::SubTransactionId>,
    steps: Vec<(pg_sys::SubTransactionId, DdlStep)>,
    /// How far the decision has come.
    pub phase: Phase,
}

thread_local! {
    static CHANGE: RefCell<Option<Change>> = const { RefCell::new(None) };
}

/// Notes that the transaction has got the token.
pub fn begin(token: TokenId, after: DdlTail) {
    CHANGE.set(Some(Change {
        transaction: compat::local_transaction_id(),
        token,
        after,
        missing: None,
        begun: None,
        steps: Vec::new(),
        phase: Phase::Working,
    }));
}

/// Forgets it: the transaction is over.
pub fn end() -> Option<Change> {
    // Called at the end of a transaction: nothing may raise.
    CHANGE.try_with(|change| change.try_borrow_mut().ok()?.take()).ok().flatten()
}

/// Looks at the running transaction's change; `None` if it holds no token.
pub fn with<R>(work: impl FnOnce(&mut Change) -> R) -> Option<R> {
    CHANGE.with_borrow_mut(|change| {
        let change = change.as_mut()?;
        (change.transaction == compat::local_transaction_id()).then(|| work(change))
    })
}

/// Whether the transaction holds the token.
pub fn is_going_on() -> bool {
    with(|_| ()).is_some()
}

/// The token that it holds, and what was decided before.
pub fn current() -> Option<(TokenId, DdlTail)> {
    with(|change| (change.token, change.after))
}

impl Change {
    /// Enters a step that has been done on this node and on the others.
    pub fn push(&mut self, step: DdlStep) {
        self.steps.push((subtransaction(), step));
    }

    /// Whether there is anything to decide.
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// All steps, in order.
    pub fn steps(&self) -> Vec<DdlStep> {
        self.steps.iter().map(|(_, step)| step.clone()).collect()
    }

    /// Whether the others, and this node's marker, are in.
    pub fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Notes that they are.
    pub fn note_begun(&mut self) {
        self.begun = Some(subtransaction());
    }

    /// A subtransaction was rolled back: what was done in it, or in one that
    /// had become part of it, is undone.
    fn roll_back_to(&mut self, aborted: pg_sys::SubTransactionId) {
        self.steps.retain(|(when, _)| *when < aborted);
        self.begun = self.begun.filter(|when| *when < aborted);
    }
}

fn subtransaction() -> pg_sys::SubTransactionId {
    // SAFETY: reads the backend's transaction state.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// Called when a subtransaction is rolled back; raises nothing.
pub fn subtransaction_aborted(aborted: pg_sys::SubTransactionId) {
    let _ = CHANGE.try_with(|change| {
        if let Ok(mut change) = change.try_borrow_mut()
            && let Some(change) = change.as_mut()
        {
            change.roll_back_to(aborted);
        }
    });
}
