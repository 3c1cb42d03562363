//! What a coordinator tells another node inside the user's transaction.

use serde::{Deserialize, Serialize};

use super::{ForeignKeyDefinition, SequenceDefinition, TableDefinition};
use crate::ddl::CarriedStatement;
use crate::metadata::{DdlPosition, DdlTail, TokenId};
use crate::rebalance::{MoveCommand, Relocation};
use crate::row_log::{RowLogId, RowLogPosition};
use crate::{SequenceId, TableId};

/// One step of managed DDL, carried by a node session as JSON. Names are
/// qualified and spelled out: nothing depends on the receiver's search_path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum NodeCommand {
    /// Stand in line for the right to change the schema, until the transaction
    /// ends. Returns without it after a while: the line keeps order, no more.
    LockDdl,
    /// Take part in a transaction that changes the schema, once everything up to
    /// `after` has been applied.
    BeginDdl {
        /// Whose.
        token: TokenId,
        /// What was decided before.
        after: DdlTail,
        /// See [`crate::metadata::DdlEntry::now`].
        now: i64,
    },
    /// `now()` is this until the transaction ends.
    PinTime {
        /// See [`crate::metadata::DdlEntry::now`].
        now: i64,
    },
    /// The schema that this node has been given is that after `position`.
    NoteDdlPosition {
        /// The last entry that is part of it.
        position: DdlPosition,
    },
    /// Table ids up to this one have been given.
    NoteTableId {
        /// The last one.
        last: TableId,
    },
    /// Make a sharded table and register it.
    CreateTable(TableDefinition),
    /// Run `CREATE INDEX` on a sharded table.
    CreateIndex {
        /// Of the table.
        schema: String,
        /// The table.
        table: String,
        /// Whether it is a unique index.
        is_unique: bool,
        /// Complete and qualified.
        statement: String,
    },
    /// Run `DROP` of sharded tables or of their indexes.
    Drop {
        /// The sharded tables that it removes.
        tables: Vec<TableId>,
        /// Complete and qualified.
        statement: String,
    },
    /// Give a sharded table that was just filled what hangs on it.
    Attach(TableDefinition),
    /// Make a managed sequence and register it.
    CreateSequence(SequenceDefinition),
    /// A table's columns have these sequences: name and register them so.
    AlignSequences {
        /// The table.
        table: TableId,
        /// All of them.
        sequences: Vec<SequenceDefinition>,
    },
    /// Have nobody draw from a sequence until the transaction ends.
    LockSequence {
        /// Its present life.
        sequence: SequenceId,
    },
    /// A sequence begins anew.
    BeginSequenceAnew {
        /// Its life until now.
        sequence: SequenceId,
        /// From now on.
        new: SequenceId,
        /// Its first value.
        first: i64,
        /// Values that a node takes at a time.
        block_size: u32,
    },
    /// Add foreign keys to a sharded table that has its leaves.
    AddForeignKeys {
        /// The referencing table.
        table: TableId,
        /// Those that it has already are left alone.
        foreign_keys: Vec<ForeignKeyDefinition>,
    },
    /// Drop foreign keys of a sharded table.
    DropForeignKeys {
        /// The referencing table.
        table: TableId,
        /// The constraints.
        names: Vec<String>,
    },
    /// Change the storage parameters of a sharded table's real leaves.
    SetStorage {
        /// The table.
        table: TableId,
        /// `"fillfactor" = '70'`, ….
        set: Vec<String>,
        /// Names, quoted.
        reset: Vec<String>,
    },
    /// Run `SET CONSTRAINTS` for leaves.
    SetConstraints {
        /// Names of constraints; `None` for ALL.
        names: Option<Vec<String>>,
        /// DEFERRED or IMMEDIATE.
        is_deferred: bool,
    },
    /// Run a user's statement that is part of managed DDL.
    Carry(CarriedStatement),
    /// Run whatever a user has broadcast.
    Run {
        /// One or more statements.
        statement: String,
        /// Settings that change what the text means, by name.
        settings: Vec<(String, String)>,
    },
    /// A table with a log is about to change: apply what the log has about it,
    /// and note that from here on its rows are of another shape.
    ReachRowLog {
        /// The log.
        log: RowLogId,
        /// The table.
        table: TableId,
        /// The last entry that may be about it.
        position: RowLogPosition,
        /// From now on.
        shape: TokenId,
    },
    /// Part of moving a partition.
    Move(MoveCommand),
    /// Make a partition anew, empty, that was lost with its node.
    RecreatePartition(Relocation),
}

impl NodeCommand {
    /// Whether it belongs into the metadata log: it changes the schema and
    /// means the same whenever it runs.
    pub fn is_schema_change(&self) -> bool {
        match self {
            NodeCommand::LockDdl
            | NodeCommand::BeginDdl { .. }
            | NodeCommand::PinTime { .. }
            | NodeCommand::NoteDdlPosition { .. }
            | NodeCommand::NoteTableId { .. }
            | NodeCommand::LockSequence { .. }
            | NodeCommand::Move(_)
            | NodeCommand::SetConstraints { .. }
            | NodeCommand::Run { .. } => false,
            NodeCommand::Carry(carried) => carried.is_schema_change,
            _ => true,
        }
    }

    /// Whether it can fail because of rows, or destroys some: then no node may
    /// be left to do it later.
    pub fn needs_every_node(&self) -> bool {
        match self {
            NodeCommand::CreateTable(_)
            | NodeCommand::CreateSequence(_)
            | NodeCommand::AlignSequences { .. }
            | NodeCommand::ReachRowLog { .. }
            | NodeCommand::SetStorage { .. } => false,
            NodeCommand::Carry(carried) => carried.needs_every_node,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_back_from_json() {
        let statement = "DROP TABLE \"s\".\"t\" RESTRICT".into();
        let command = NodeCommand::Drop { tables: vec![TableId(4)], statement };
        let json = serde_json::to_string(&command).unwrap();
        assert_eq!(
            json,
            r#"{"command":"drop","tables":[4],"statement":"DROP TABLE \"s\".\"t\" RESTRICT"}"#
        );
        assert_eq!(serde_json::from_str::<NodeCommand>(&json).unwrap(), command);
    }
}
