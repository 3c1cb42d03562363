//! This node's copy of the cluster's catalogues: reading and writing them.

mod acting_as;
mod latest;
mod registry;
mod relation;
mod sequences;
mod sharded_tables;
mod table_definition;

pub use acting_as::ActingAs;
pub use latest::read_latest;
pub use registry::{
    ManagedSequence, Member, Registry, ReplicatedTable, ShardedTable, forget_registry, init,
    is_installed, last_move_if_known, loaded_registry, registry,
};
pub use relation::{catalog, find_catalog, qualified_name};
pub use sequences::{
    begin_sequence_anew, definition_of_sequence, forget_dropped_sequences,
    future_definition_of_sequence, new_sequence_id, owned_sequences, register_new,
    register_sequence, sequence_with_id, standalone_sequences,
};
pub use sharded_tables::{
    last_table_id, move_partition, next_table_id, note_changed_tables, note_shape, note_table_id,
    register_replicated, register_table, unregister_table,
};
pub use table_definition::{definition_of, definition_of_replicated, read_definition};
