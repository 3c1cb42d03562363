//! The replicated metadata: its commands and the state machine they drive.

mod command;
mod ddl;
mod decided;
mod node;
mod sequence;
mod state;

pub use command::{MetadataCommand, Outcome, Refusal};
pub use ddl::{
    Accepted, DDL_FORMAT, DdlAnswer, DdlCommand, DdlEntry, DdlLog, DdlPosition, DdlRefusal,
    DdlStep, DdlTail, EntryKind, Fate, Settlement, Token, TokenHolder, TokenId,
};
pub use decided::Decided;
pub use node::{NodeRecord, NodeState};
pub use sequence::{Exhausted, SequenceBlock, SequenceBounds, SequencePosition};
pub use state::Metadata;
