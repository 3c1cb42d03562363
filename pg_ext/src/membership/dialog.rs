//! Talking to a server that is not a member yet, outside of any transaction.

use cluster::{Credential, NodeId};
use fdw::error::Failure;
use fdw::transport::Dialog as Connection;
use pgrx::prelude::*;

use super::address::Address;
use crate::node_session::NODE_ROLE;
use crate::report::Report;

/// A connection of its own.
pub struct Dialog {
    connection: Connection,
}
