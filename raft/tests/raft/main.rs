//! Nodes as the worker runs them: a thread, a directory and a socket each. Only
//! the network between them is a stand-in, which can be cut.

mod crash;
mod failover;
mod forming;
mod old_copies;
mod postgres;
mod refusals;
mod stage;
