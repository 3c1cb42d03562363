//! What the driver of a move has this node do, each piece in a transaction of
//! its own.

use std::cell::Cell;

use cluster::rebalance::MoveWork;
use pgrx::prelude::*;
use serde::Serialize;

use super::{catch_up, copy, destination, obstacles, source};
use crate::ddl::OwnWork;
use crate::report::{OrRaise, Report};

thread_local! {
    static IS_MOVER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this session, of another node's mover, reaches for the source of a
/// move: it takes part in no transaction of the other node.
pub fn is_mover() -> bool {
    IS_MOVER.get()
}

#[pg_extern(sql = false)]
fn move_work(work: &str) -> String {
    run(work).or_raise()
}

fn run(work: &str) -> Result<String, Report> {
    let work = serde_json::from_str::<MoveWork>(work).map_err(|error| {
        Report::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, "could not read what to move")
            .detail(error.to_string())
            .hint("All nodes must run the same version of shardman.")
    })?;
    IS_MOVER.set(true);
    let _own_work = OwnWork::begin();
    match work {
        MoveWork::ObserveSource(relocation) => json(&source::observe(&relocation)?),
        MoveWork::ObserveDestination(relocation) => json(&destination::observe(&relocation)?),
        MoveWork::Publish(relocation) => nothing(source::publish(&relocation)),
        MoveWork::MakeSlot(relocation) => nothing(source::make_slot(&relocation)),
        MoveWork::Describe(relocation) => json(&source::describe(&relocation)?),
        MoveWork::MakeLeaves { relocation, description } => {
            nothing(destination::make_leaves(&relocation, &description))
        }
        MoveWork::Copy(relocation) => nothing(copy::copy(&relocation)),
        MoveWork::MakeIndexes { relocation, description } => {
            nothing(destination::make_indexes(&relocation, &description))
        }
        MoveWork::CatchUp(relocation) => json(&catch_up::catch_up(&relocation)?),
        MoveWork::Flush => json(&source::flush()?),
        MoveWork::HoldersOfLocks(relocation) => json(&obstacles::holders_of_locks(&relocation)?),
        MoveWork::OldTransactions => json(&obstacles::old_transactions()?),
        MoveWork::Discard(relocation) => nothing(destination::discard(&relocation)),
        MoveWork::CleanUp(relocation) => {
            nothing(source::clean_up(&relocation).and_then(|()| destination::discard(&relocation)))
        }
        MoveWork::Note { relocation, phase } => nothing(destination::note(&relocation, &phase)),
    }
}

fn json(value: &impl Serialize) -> Result<String, Report> {
    Ok(serde_json::to_string(value).unwrap_or_default())
}

fn nothing(done: Result<(), Report>) -> Result<String, Report> {
    done.map(|()| String::new())
}
