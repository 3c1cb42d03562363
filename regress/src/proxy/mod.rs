//! A TCP proxy that understands PostgreSQL's messages.

mod framing;
mod link;
mod server;
mod statements;
mod stop;

pub use server::Proxy;
pub use stop::{Moment, Stop};
