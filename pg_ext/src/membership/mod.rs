//! Being a member of a cluster: identity, creation, joining.

mod address;
mod create;
mod describe;
mod dialog;
mod identity;
mod join;
mod leave;
mod role;
mod sql;

pub use address::Address;
pub use dialog::Dialog;
pub use identity::{folder, my_identity, my_identity_if_any, system_identifier};
pub use join::current_user;
pub use role::random_hex;
pub use sql::not_in_a_block;
