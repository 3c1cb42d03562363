//! The driver of a move: a background process of any node. It holds no
//! transaction while it waits for others, and knows nothing that it could not
//! find out again.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use cluster::NodeId;
use cluster::rebalance::{
    CaughtUp, Lsn, MoveCommand, MoveWork, Observed, Relocation, SourceDescription, Step, next_step,
};
use cluster::sharding::NodeCommand;
use pgrx::prelude::*;
use pgrx::spi::quote_literal;
use serde::de::DeserializeOwned;

use super::destination::{IS_IT, key};
use super::source::{self, sleep};
use super::switch;
use crate::catalog::{forget_registry, registry};
use crate::ddl::lock_ddl;
use crate::jobs::in_transaction;
use crate::membership::{Dialog, my_identity};
use crate::peers;
use crate::report::Report;
use crate::{schema_change, settings};

/// The switch is tried when no more WAL than this is unread.
const FEW_BYTES: u64 = 256 * 1024;
/// The last round of changes takes no longer, with everybody waiting.
const LAST_ROUND: Duration = Duration::from_secs(3);
/// Between two rounds of changes, and between two tries of the switch.
const PAUSE_MS: i64 = 200;
const PAUSE_AFTER_TRY_MS: i64 = 700;

/// A move under way.
pub struct Driver {
    relocation: Relocation,
    me: NodeId,
    source: Dialog,
    destination: Dialog,
}

impl Driver {
    /// Reaches the two nodes.
    pub fn begin(relocation: Relocation) -> Result<Driver, Report> {
        let (me, source, destination) = in_transaction(|| {
            forget_registry();
            let registry = registry()?;
            let member = |id: NodeId| {
                registry.member(id).cloned().ok_or_else(|| {
                    Report::new(
                        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                        format!("node {id} does not exist"),
                    )
                })
            };
            let me = my_identity()?.node_id;
            Ok((me, member(relocation.source)?, member(relocation.destination)?))
        })?;
        let open = |member| -> Result<Dialog, Report> {
            let mut dialog = in_transaction(|| Dialog::open_member_session(&member))?;
            // Ends what a driver that is gone has begun.
            dialog.rows(
                "SET client_connection_check_interval = '1s'; SET shardman.global_snapshot = off",
            )?;
            Ok(dialog)
        };
        Ok(Driver { relocation, me, source: open(source)?, destination: open(destination)? })
    }

    /// Takes steps until the partition is there and nothing is left of the move.
    /// What was done before an error stays, and is found by the next attempt.
    pub fn run(&mut self) -> Result<(), Report> {
        let mut last = None;
        loop {
            let observed = self.observe()?;
            let step = next_step(&observed);
            let phase = phase_of(step);
            if last != Some(step) && observed.is_registered && step != Step::Register {
                self.at_destination(&MoveWork::Note {
                    relocation: self.relocation,
                    phase: phase.to_owned(),
                })?;
            }
            last = Some(step);
            match step {
                Step::Register => self.register()?,
                Step::Publish => self.at_source(&MoveWork::Publish(self.relocation))?,
                Step::MakeSlot => self.at_source(&MoveWork::MakeSlot(self.relocation))?,
                Step::MakeLeaves => {
                    let (relocation, description) = (self.relocation, self.describe()?);
                    self.at_destination(&MoveWork::MakeLeaves { relocation, description })?;
                }
                Step::Discard => self.at_destination(&MoveWork::Discard(self.relocation))?,
                Step::Copy => self.copy()?,
                Step::MakeIndexes => {
                    let (relocation, description) = (self.relocation, self.describe()?);
                    self.at_destination(&MoveWork::MakeIndexes { relocation, description })?;
                }
                Step::CatchUp => self.catch_up_and_switch()?,
                Step::CleanUp => self.clean_up()?,
                Step::Finish => return Ok(()),
            }
        }
    }

    /// Undoes what was done, unless the partition is there already.
    pub fn give_up(&mut self) -> Result<(), Report> {
        self.clean_up()?;
        self.everywhere(MoveCommand::Forget(self.relocation))
    }

    fn register(&self) -> Result<(), Report> {
        self.everywhere(MoveCommand::Register { relocation: self.relocation, after: None })
    }

    fn observe(&mut self) -> Result<Observed, Report> {
        let relocation = self.relocation;
        let (is_there, is_registered) = in_transaction(|| {
            forget_registry();
            let registry = registry()?;
            let placement = registry.placement(relocation.group).unwrap_or_default();
            let at = placement.get(usize::from(relocation.partition.0)).copied();
            let at = at.ok_or_else(|| {
                Report::new(
                    PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                    format!("colocation group {} does not exist any more", relocation.group),
                )
            })?;
            let [group, partition] = key(&relocation);
            let is_registered = Spi::get_one_with_args::<bool>(
                &format!(
                    "SELECT EXISTS (SELECT FROM shardman.move WHERE {IS_IT}
                        AND job_id OPERATOR(pg_catalog.=) $3)"
                ),
                &[group, partition, relocation.job.into()],
            )?;
            Ok((at == relocation.destination, is_registered == Some(true)))
        })?;
        Ok(Observed {
            is_registered,
            is_there,
            source: answer(&mut self.source, &MoveWork::ObserveSource(relocation))?,
            destination: answer(&mut self.destination, &MoveWork::ObserveDestination(relocation))?,
        })
    }

    fn describe(&mut self) -> Result<SourceDescription, Report> {
        answer(&mut self.source, &MoveWork::Describe(self.relocation))
    }

    fn at_source(&mut self, work: &MoveWork) -> Result<(), Report> {
        done(&mut self.source, work)
    }

    fn at_destination(&mut self, work: &MoveWork) -> Result<(), Report> {
        done(&mut self.destination, work)
    }

    fn clean_up(&mut self) -> Result<(), Report> {
        self.at_source(&MoveWork::CleanUp(self.relocation))?;
        self.at_destination(&MoveWork::CleanUp(self.relocation))
    }

    /// One distributed transaction over all nodes, which have the same schema.
    fn everywhere(&self, command: MoveCommand) -> Result<(), Report> {
        in_transaction(|| {
            lock_ddl()?;
            // The transaction has the right to change the schema, and so a tail.
            let after = schema_change::current().map(|(_, after)| after);
            let command = match (command, after) {
                (MoveCommand::Register { relocation, .. }, after) => {
                    MoveCommand::Register { relocation, after }
                }
                (other, _) => other,
            };
            switch::apply(&command)?;
            peers::tell_all(&NodeCommand::Move(command))
        })
    }

    fn copy(&mut self) -> Result<(), Report> {
        let work = MoveWork::Copy(self.relocation);
        self.destination.rows(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; {}; COMMIT",
            statement(&work)
        ))?;
        Ok(())
    }

    fn catch_up(&mut self) -> Result<CaughtUp, Report> {
        answer(&mut self.destination, &MoveWork::CatchUp(self.relocation))
    }

    fn catch_up_and_switch(&mut self) -> Result<(), Report> {
        loop {
            loop {
                let round = self.catch_up()?;
                if round.behind <= FEW_BYTES {
                    break;
                }
                if round.changes == 0 {
                    sleep(PAUSE_MS);
                }
            }
            match self.switch() {
                Ok(()) => return Ok(()),
                Err(report) if is_passing(&report) => {
                    log!("shardman: the switch of a move is tried again: {}", report.message);
                    sleep(PAUSE_AFTER_TRY_MS);
                }
                Err(report) => return Err(report),
            }
        }
    }

    /// Everybody waits from the lock to the end of this transaction.
    fn switch(&mut self) -> Result<(), Report> {
        let (relocation, me) = (self.relocation, self.me);
        let Driver { destination, .. } = self;
        in_transaction(|| {
            lock_ddl()?;
            let lock = MoveCommand::Lock { relocation, timeout_ms: settings::move_lock_timeout() };
            let both = [relocation.source, relocation.destination];
            let others: Vec<_> = both.into_iter().filter(|node| *node != me).collect();
            peers::tell(&others, &NodeCommand::Move(lock.clone()))?;
            if others.len() < both.len() {
                switch::apply(&lock)?;
            }
            let end = flush(relocation, me)?;
            let deadline = Instant::now() + LAST_ROUND;
            loop {
                let round: CaughtUp = answer(destination, &MoveWork::CatchUp(relocation))?;
                if round.applied >= end {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(Report::new(
                        PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
                        "the last changes were not applied in time",
                    ));
                }
            }
            let switch = MoveCommand::Switch(relocation);
            switch::apply(&switch)?;
            peers::tell_all(&NodeCommand::Move(switch))
        })
    }
}

fn flush(relocation: Relocation, me: NodeId) -> Result<Lsn, Report> {
    if relocation.source == me {
        return source::flush();
    }
    let source = fdw::session::for_node(relocation.source)?;
    let rows = source.query(&statement(&MoveWork::Flush), &[])?;
    let text = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    read(&text.unwrap_or_default())
}

/// What may be over in a moment.
fn is_passing(report: &Report) -> bool {
    use PgSqlErrorCode::*;
    matches!(
        report.code,
        ERRCODE_LOCK_NOT_AVAILABLE
            | ERRCODE_T_R_SERIALIZATION_FAILURE
            | ERRCODE_T_R_DEADLOCK_DETECTED
            | ERRCODE_OBJECT_IN_USE
            | ERRCODE_QUERY_CANCELED
    )
}

fn phase_of(step: Step) -> &'static str {
    match step {
        Step::Register => "starting",
        Step::Publish => "publishing",
        Step::MakeSlot => "waiting for old transactions",
        Step::MakeLeaves | Step::Discard => "preparing",
        Step::Copy => "copying",
        Step::MakeIndexes => "building indexes",
        Step::CatchUp => "catching up",
        Step::CleanUp => "cleaning up",
        Step::Finish => "finished",
    }
}

fn statement(work: &MoveWork) -> String {
    let work = serde_json::to_string(work).unwrap_or_default();
    format!("SELECT shardman.move_work({})", quote_literal(work))
}

fn done(session: &mut Dialog, work: &MoveWork) -> Result<(), Report> {
    session.rows(&statement(work)).map(drop)
}

fn answer<T: DeserializeOwned>(session: &mut Dialog, work: &MoveWork) -> Result<T, Report> {
    read(&session.value(&statement(work))?)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Report> {
    serde_json::from_str(text).map_err(|error| {
        Report::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, "could not read a node's answer")
            .detail(error.to_string())
            .hint("All nodes must run the same version of shardman.")
    })
}
