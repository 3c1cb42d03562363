//! What `before` decides about a statement.

use pgrx::pg_sys;

use super::carry::CarriedHere;
use super::create_index::CreatedIndex;
use super::create_table::CreatedTable;
use super::deferral::Deferral;
use super::distribute::FilledTable;
use super::drop::DroppedObjects;
use super::maintenance::{self, MaintainedHere};
use super::sequences::SequenceChange;
use crate::replicated::CreatedReplicated;
use crate::report::Report;
use crate::sequence::IdentityDefaults;

/// How the hook goes on.
pub enum Step {
    /// Not ours: PostgreSQL runs it as it is.
    Pass,
    /// Ours entirely: nothing is left to run.
    Done,
    /// A VACUUM with nothing to run here but what comes afterwards.
    Only(Finish),
    /// The same, to be announced under this command tag.
    DoneAs(pg_sys::CommandTag::Type),
    /// Another node's statement on leaves: see `hooks::copy`, `hooks::truncate`.
    Receive(Received),
    /// PostgreSQL runs the statement, then we finish.
    Run {
        /// A rewritten copy; null for the statement as it is.
        statement: *mut pg_sys::PlannedStmt,
        /// What comes afterwards.
        finish: Option<Finish>,
    },
}

/// Statements of another node on leaves that run without a check of rights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// COPY of rows into one.
    Copy,
    /// TRUNCATE of some.
    Truncate,
}

/// The work after PostgreSQL's own.
pub enum Finish {
    /// Leaves, other nodes.
    Carry(Box<CarriedHere>),
    /// Leaves, registration, other nodes.
    CreateTable(CreatedTable),
    /// Registration, other nodes.
    CreateReplicated(CreatedReplicated),
    /// Other nodes.
    CreateIndex(CreatedIndex),
    /// Leaves, other nodes.
    Deferral(Deferral),
    /// A table that was filled becomes a sharded one.
    Distribute(FilledTable),
    /// Registration, other nodes.
    Drop(DroppedObjects),
    /// Registration, other nodes.
    Sequence(SequenceChange),
    /// A COPY has drawn its identity values.
    Copy(IdentityDefaults),
    /// Other nodes, outside of the transaction.
    Maintain(MaintainedHere),
    /// The end of what another node asked for.
    EndMaintenance,
    /// The isolation level may have become REPEATABLE READ.
    Isolation {
        /// By SET TRANSACTION SNAPSHOT.
        is_import: bool,
        /// Not from within a function.
        is_top: bool,
    },
}

impl Finish {
    /// Does it.
    pub fn run(&self) -> Result<(), Report> {
        match self {
            Finish::Carry(carried) => carried.finish(),
            Finish::CreateTable(created) => created.finish(),
            Finish::CreateReplicated(created) => created.finish(),
            Finish::CreateIndex(created) => created.finish(),
            Finish::Deferral(deferral) => deferral.finish(),
            Finish::Distribute(filled) => filled.finish(),
            Finish::Drop(dropped) => dropped.finish(),
            Finish::Sequence(change) => change.finish(),
            Finish::Copy(defaults) => {
                defaults.take_back();
                Ok(())
            }
            Finish::Maintain(maintained) => maintained.finish(),
            Finish::EndMaintenance => {
                maintenance::end_received();
                Ok(())
            }
            Finish::Isolation { is_import, is_top } => {
                crate::snapshot::after_setting(*is_import, *is_top)
            }
        }
    }
}
