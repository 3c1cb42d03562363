//! What another node's DDL does here, inside that node's transaction and as
//! its effective user.
#![allow(unsafe_code)]

use cluster::sharding::NodeCommand;
use pgrx::prelude::*;

use super::lock::lock_ddl_here;
use super::{
    OwnWork, attach, broadcast, carry, create_from_definition, create_index, deferral, drop,
    foreign_keys, sequences,
};
use crate::catalog::{begin_sequence_anew, note_table_id};
use crate::report::Report;

/// Carries out one command.
pub fn apply(command: NodeCommand) -> Result<(), Report> {
    // SAFETY: a snapshot for the queries that follow; popped at the end, or by
    // the transaction's abort.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    // A broadcast holds nothing up; DDL inside of it sees to itself. SET CONSTRAINTS is no DDL.
    if !matches!(command, NodeCommand::Run { .. } | NodeCommand::SetConstraints { .. }) {
        lock_ddl_here()?;
    }
    let done = match command {
        NodeCommand::LockDdl => Ok(()),
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
        NodeCommand::Carry(carried) => carry::apply(&carried),
        NodeCommand::Run { statement, settings } => broadcast::apply(&statement, &settings),
        NodeCommand::Drop { tables, statement } => drop::apply(&tables, &statement),
    };
    // SAFETY: the one pushed above.
    unsafe { pg_sys::PopActiveSnapshot() };
    done
}
