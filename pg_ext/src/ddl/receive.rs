//! What another node's DDL does here, inside that node's transaction and as
//! its effective user.
#![allow(unsafe_code)]

use cluster::sharding::NodeCommand;
use pgrx::prelude::*;

use super::{
    OwnWork, attach, broadcast, carry, create_from_definition, create_index, deferral, drop,
    foreign_keys, sequences, storage,
};
use crate::catalog::{begin_sequence_anew, note_table_id};
use crate::moving;
use crate::report::Report;
use crate::{row_log, schema_change};

/// Carries out one command.
pub fn apply(command: NodeCommand) -> Result<(), Report> {
    // SAFETY: a snapshot for the queries that follow; popped at the end, or by
    // the transaction's abort.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    let done = match command {
        NodeCommand::LockDdl => schema_change::stand_in_line_here(),
        NodeCommand::BeginDdl { token, after, now } => schema_change::begin(token, after, now),
        NodeCommand::PinTime { now } => {
            schema_change::pin_time(now);
            Ok(())
        }
        NodeCommand::NoteDdlPosition { position } => schema_change::note_position(position),
        NodeCommand::NoteTableId { last } => note_table_id(last),
        NodeCommand::CreateTable(definition) => {
            let _own_work = OwnWork::begin();
            definition.parent_statements().iter().try_for_each(|sql| Spi::run(sql))?;
            definition.sequences.iter().try_for_each(sequences::register_definition)?;
            create_from_definition(&definition)?;
            attach(&definition)
        }
        NodeCommand::CreateIndex { schema, table, is_unique, statement } => {
            create_index::apply(&schema, &table, is_unique, &statement)
        }
        NodeCommand::Attach(definition) => attach(&definition),
        NodeCommand::CreateSequence(definition) => sequences::create(&definition),
        NodeCommand::AlignSequences { table, sequences } => sequences::align(table, &sequences),
        NodeCommand::LockSequence { sequence } => sequences::lock(sequence),
        NodeCommand::BeginSequenceAnew { sequence, new, first, block_size } => {
            begin_sequence_anew(sequence, new, first, block_size)
        }
        NodeCommand::AddForeignKeys { table, foreign_keys } => {
            foreign_keys::add_defined(table, &foreign_keys)
        }
        NodeCommand::DropForeignKeys { table, names } => foreign_keys::drop_named(table, &names),
        NodeCommand::SetConstraints { names, is_deferred } => {
            deferral::apply(names.as_deref(), is_deferred)
        }
        NodeCommand::SetStorage { table, set, reset } => storage::apply(table, &set, &reset),
        NodeCommand::ReachRowLog { log, table, position, shape } => {
            row_log::reach(log, table, position, shape)
        }
        NodeCommand::Carry(carried) => carry::apply(&carried),
        NodeCommand::Run { statement, settings } => broadcast::apply(&statement, &settings),
        NodeCommand::Move(command) => moving::apply(&command),
        NodeCommand::RecreatePartition(lost) => moving::recreate_partition(&lost),
        NodeCommand::Drop { tables, statement } => drop::apply(&tables, &statement),
    };
    // SAFETY: the one pushed above.
    unsafe { pg_sys::PopActiveSnapshot() };
    done
}
