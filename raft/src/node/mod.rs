//! The node: a member of the cluster, or not yet one.

mod introduction;
mod keeping;
mod leading;
mod member;
mod membership;
mod pauses;
mod receive;
mod routing;
mod row_logs;
mod service;
mod status;
mod watching;

pub(crate) use member::Member;
pub use membership::MAX_VOTERS;
pub(crate) use service::Service;
