//! The replicated metadata: its commands and the state machine they drive.

mod command;
mod node;
mod state;

pub use command::{MetadataCommand, Outcome, Refusal};
pub use node::{NodeRecord, NodeState};
pub use state::Metadata;
