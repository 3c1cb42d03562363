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
/// Between two rounds of changes, and after a try of the switch.
const PAUSE_MS: i64 = 200;
const PAUSE_AFTER_TRY_MS: i64 = 700;
/// The switch is tried so often although somebody has had a lock for a while.
const TRIES_APART: Duration = Duration::from_secs(5);

/// A move under way.
pub struct Driver<'a> {
    relocation: Relocation,
    me: NodeId,
    source: Dialog,
    destination: Dialog,
    tell: Tell<'a>,
}

/// Tells people what the move waits for; an empty word if for nothing. An error if
/// the move is somebody else's by now.
pub type Tell<'a> = &'a mut dyn FnMut(&str) -> Result<(), Report>;

impl<'a> Driver<'a> {
    /// Reaches the two nodes.
    pub fn begin(relocation: Relocation, tell: Tell<'a>) -> Result<Self, Report> {
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
        let (source, destination) = (open(source)?, open(destination)?);
        Ok(Driver { relocation, me, source, destination, tell })
    }

    /// Takes steps until the partition is there and nothing is left of the move.
    /// What was done before an error stays, and is found by the next attempt. An error
    /// because of locks names those who have them.
    pub fn run(&mut self) -> Result<(), Report> {
        self.take_steps().map_err(|report| match report.code {
            PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE => match self.holders_of_locks() {
                Some(holders) => report.detail(holders),
                None => report,
            },
            _ => report,
        })
    }

    fn take_steps(&mut self) -> Result<(), Report> {
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
                Step::MakeSlot => self.make_slot()?,
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

    fn make_slot(&mut self) -> Result<(), Report> {
        let old: Vec<String> = answer(&mut self.source, &MoveWork::OldTransactions)?;
        if !old.is_empty() {
            let source = self.relocation.source;
            (self.tell)(&format!("waits for transactions of node {source}: {}", old.join("; ")))?;
        }
        self.at_source(&MoveWork::MakeSlot(self.relocation))?;
        (self.tell)("")
    }

    /// One line; none if there is nobody any more, or the nodes cannot be asked.
    fn holders_of_locks(&mut self) -> Option<String> {
        let work = MoveWork::HoldersOfLocks(self.relocation);
        let both = [
            (self.relocation.source, &mut self.source),
            (self.relocation.destination, &mut self.destination),
        ];
        let mut lines = Vec::new();
        for (node, session) in both {
            let holders: Vec<String> = answer(session, &work).unwrap_or_default();
            lines.extend(holders.into_iter().map(|holder| format!("node {node}: {holder}")));
        }
        (!lines.is_empty()).then(|| lines.join("; "))
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
        let mut last_try = Instant::now();
        let mut told = None;
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
            // While the switch waits for a lock, everybody waits behind it: so it is
            // not tried too often in vain.
            if let Some(holders) = self.holders_of_locks() {
                (self.tell)(&format!("the switch waits for locks: {holders}"))?;
                if last_try.elapsed() < TRIES_APART {
                    sleep(PAUSE_MS);
                    continue;
                }
            }
            last_try = Instant::now();
            match self.switch() {
                Ok(()) => return (self.tell)(""),
                Err(report) if is_passing(&report) => {
                    // The same reason is told once, not every time.
                    if told.as_ref() != Some(&report.message) {
                        log!("shardman: the switch of a move is tried again: {}", report.message);
                    }
                    told = Some(report.message);
                    sleep(PAUSE_AFTER_TRY_MS);
                }
                Err(report) => return Err(report),
            }
        }
    }

    /// Everybody waits from the lock to the end of this transaction.
    fn switch(&mut self) -> Result<(), Report> {
        let (relocation, me) = (self.relocation, self.me);
        let destination = &mut self.destination;
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
