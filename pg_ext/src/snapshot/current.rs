//! What is known of the running transaction's snapshot.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::rc::Rc;

use cluster::NodeId;
use pgrx::prelude::*;

use crate::compat::local_transaction_id;

/// How the running transaction came to its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Current {
    /// As PostgreSQL takes it: of this node.
    Local,
    /// Of these other nodes too.
    Cluster(Rc<[NodeId]>),
    /// From another session, of this node.
    Imported,
    /// Of this node, and a node that it used alone.
    OneNode,
}

thread_local! {
    static CURRENT: RefCell<(pg_sys::LocalTransactionId, Current)> =
        const { RefCell::new((0, Current::Local)) };
}

/// Of the running transaction.
pub fn current() -> Current {
    let now = local_transaction_id();
    CURRENT.with(|current| match &*current.borrow() {
        (transaction, known) if *transaction == now => known.clone(),
        _ => Current::Local,
    })
}

/// Takes note.
pub fn remember(known: Current) {
    let now = local_transaction_id();
    CURRENT.with(|current| *current.borrow_mut() = (now, known));
}

/// The running transaction's snapshot is being taken together with those of other
/// nodes, at another's request.
pub fn joins_the_cluster() {
    remember(Current::Cluster(Rc::default()));
}

/// Whether the running transaction's snapshot is of the cluster.
pub fn is_of_the_cluster() -> bool {
    matches!(current(), Current::Cluster(_))
}

/// The running transaction's isolation level.
pub fn isolation() -> u32 {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::XactIsoLevel as u32 }
}
