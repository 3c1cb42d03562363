//! Managed sequences: values that are unique in the cluster.
//!
//! Each node has an ordinary sequence of the same name and counts with it
//! through *blocks* of values that the metadata log hands out (`draw`). How
//! many values of its block are left is in shared memory (`blocks`); after a
//! restart that is not known, so a new block is taken and the rest of the old
//! one is never given. Nothing of this happens in the user's transaction.
//!
//! Calls of PostgreSQL's own `nextval` and `setval` come here because
//! `support` is their planner support function; identity columns, whose values
//! are drawn without a call, come here by way of `identity` (planner) and
//! `copy` (COPY FROM).

mod blocks;
mod bounds;
mod copy;
mod draw;
mod forget;
mod identity;
mod set;
mod support;

pub use blocks::{LOCK, SLOTS};
pub use bounds::bounds_of;
pub use copy::{IdentityDefaults, before_copy};
pub use draw::take_value;
pub use identity::replace_identity_values;
pub use support::restore_functions;

/// Called once, while the library is preloaded.
pub fn init() {
    copy::init();
}
