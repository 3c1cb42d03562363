//! Managed DDL in the metadata log: who may change the schema, what was
//! decided, and how far each member has brought it into its own database.
//!
//! A transaction that changes the schema takes the *token*, of which there is
//! one; its number is never given again and names the transaction. What it did
//! is appended as one entry, and the entry is accepted only while its token is
//! current: that answer is the decision. Tokens have no clock: the log takes
//! one away when it is given up, when somebody says that it was not renewed, or
//! when its holder's node is down, gone or has been started anew.

mod command;
mod entry;
mod log;
mod token;

#[cfg(test)]
mod properties;

pub use command::{DdlAnswer, DdlCommand, DdlRefusal};
pub use entry::{DDL_FORMAT, DdlEntry, DdlPosition, DdlStep, DdlTail, EntryKind};
pub use log::{Accepted, DdlLog, Fate, Settlement};
pub use token::{Token, TokenHolder, TokenId};
