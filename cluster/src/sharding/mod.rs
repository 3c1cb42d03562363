//! Sharded tables: what a user may ask for, where partitions go, what their
//! leaves are called and which SQL makes them.

mod command;
mod definition;
mod identifier;
mod leaf_name;
mod options;
mod placement;
mod sequence;

pub use command::NodeCommand;
pub use definition::{
    ColumnDefinition, ConstraintDefinition, ForeignKeyDefinition, TableDefinition,
};
pub use identifier::{IdentifierError, parse_identifiers, parse_qualified_name, quote_identifier};
pub use leaf_name::{LEAF_SCHEMA, LeafName, MOVING_SCHEMA, REMOTE_SCHEMA};
pub use options::{
    MAX_PARTITIONS, OptionError, Requested, RequestedDistribution, StorageParameter,
    separate_options,
};
pub use placement::place;
pub use sequence::SequenceDefinition;
