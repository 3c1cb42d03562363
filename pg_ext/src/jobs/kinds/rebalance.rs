//! Several moves, some at the same time, each a job of its own.

use std::time::Duration;

use cluster::LogIndex;
use cluster::jobs::{JobCommand, JobId, JobKind, JobStatus};
use cluster::rebalance::{PlannedMove, choose_next};
use serde::{Deserialize, Serialize};

use crate::jobs::driving::Driving;
use crate::jobs::kind::{Kind, Next};
use crate::jobs::{log, submit, work};
use crate::moving::{self, Wanted};
use crate::report::Report;
use crate::settings;
use crate::worker::ask_log;

/// For one look at the log.
const LOOK: Duration = Duration::from_secs(5);

/// Brings the cluster to what is wanted.
pub struct Rebalance(pub Wanted);

/// Where the job is.
#[derive(Default, Serialize, Deserialize)]
struct State {
    is_planned: bool,
    moves: Vec<Move>,
}

#[derive(Serialize, Deserialize)]
struct Move {
    planned: PlannedMove,
    job: Option<JobId>,
}

impl Kind for Rebalance {
    fn step(&self, driving: &mut Driving) -> Result<Next, Report> {
        let mut state: State = driving.state()?;
        if !state.is_planned {
            let planned = work::in_transaction(|| moving::plan_moves(&self.0))?;
            let moves = planned.into_iter().map(|planned| Move { planned, job: None }).collect();
            state = State { is_planned: true, moves };
            driving.save(&state)?;
        }
        let mut seen = LogIndex(0);
        loop {
            let (index, metadata) = ask_log(seen, LOOK)?;
            seen = index;
            let status = |job: JobId| metadata.jobs().get(job).map(|job| job.status);
            let is_running =
                |one: &Move| one.job.is_some_and(|job| status(job).is_some_and(|s| !s.is_over()));
            let running: Vec<PlannedMove> =
                state.moves.iter().filter(|one| is_running(one)).map(|one| one.planned).collect();
            let waiting: Vec<PlannedMove> =
                state.moves.iter().filter(|one| one.job.is_none()).map(|one| one.planned).collect();
            if running.is_empty() && waiting.is_empty() {
                let failed = state.moves.iter().filter_map(|one| one.job).filter(|job| {
                    !matches!(status(*job), Some(JobStatus::Success | JobStatus::Done) | None)
                });
                let failed: Vec<_> = failed.map(|job| job.to_string()).collect();
                return Ok(Next::Finished(match failed.is_empty() {
                    true => String::new(),
                    false => format!("moves that did not succeed: {}", failed.join(", ")),
                }));
            }
            let chosen = choose_next(&waiting, &running, settings::max_parallel_moves());
            let (id, owner) = (driving.job().id, driving.job().owner.clone());
            for one in &chosen {
                let Some(at) = state.moves.iter().position(|known| known.planned == *one) else {
                    continue;
                };
                // The same key again, should this be lost on the way, is the same job.
                let key = format!("rebalance {id} {at}");
                let job =
                    submit::submit_as(self.job_of(one)?, key, owner.clone(), one.destination)?;
                state.moves[at].job = Some(job);
            }
            if !chosen.is_empty() {
                driving.save(&state)?;
            }
        }
    }

    fn clean_up(&self, driving: &mut Driving) -> Result<Next, Report> {
        let state: State = driving.state()?;
        let (_, metadata) = ask_log(LogIndex(0), Duration::ZERO)?;
        for job in state.moves.iter().filter_map(|one| one.job) {
            if metadata.jobs().get(job).is_some_and(|job| !job.status.is_over()) {
                log::change(JobCommand::Cancel { job, at: log::now() })?;
            }
        }
        Ok(Next::Finished(String::new()))
    }
}

impl Rebalance {
    fn job_of(&self, one: &PlannedMove) -> Result<JobKind, Report> {
        let part_name = work::in_transaction(|| moving::part_name(one.group, one.partition))?;
        Ok(JobKind::MovePartition {
            part_name,
            group: one.group,
            partition: one.partition,
            source: one.source,
            destination: one.destination,
        })
    }
}
