//! The replicated metadata: its commands and the state machine they drive.

mod command;
mod node;
mod sequence;
mod state;

pub use command::{MetadataCommand, Outcome, Refusal};
pub use node::{NodeRecord, NodeState};
pub use sequence::{Exhausted, SequenceBlock, SequenceBounds, SequencePosition};
pub use state::Metadata;
