//! Several moves, some at the same time, each a job of its own.

use std::time::Duration;

use cluster::LogIndex;
use cluster::jobs::{JobCommand, JobId, JobKind};
use cluster::metadata::Metadata;
use cluster::rebalance::{Campaign, CampaignStep, PlannedMove};
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
/// Before moves that have failed are tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// Brings the cluster to what is wanted.
pub struct Rebalance(pub Wanted);

/// Where the job is.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// When: a job that is resumed begins anew, with other moves.
    began: i64,
    campaign: Campaign,
}

/// What the keys of its moves begin with.
fn key_of(job: JobId) -> String {
    format!("rebalance {job} ")
}

impl Kind for Rebalance {
    fn step(&self, driving: &mut Driving) -> Result<Next, Report> {
        let State { mut began, mut campaign } = driving.state()?;
        if campaign.is_new() {
            began = log::now();
        }
        let mut seen = LogIndex(0);
        loop {
            let (index, metadata) = ask_log(seen, LOOK)?;
            let status = |job: JobId| metadata.jobs().get(job).map(|job| job.status);
            match campaign.next(status, settings::max_parallel_moves()) {
                CampaignStep::Wait => {
                    seen = index;
                    continue;
                }
                CampaignStep::Plan { has_failed } => {
                    // Copies are smaller than what they were made of: a balance of
                    // bytes would be mended for ever.
                    let is_enough = self.0.by_size && !campaign.is_new() && !has_failed;
                    if has_failed {
                        work::pause(PAUSE);
                    }
                    let plan = match is_enough {
                        true => Vec::new(),
                        false => work::in_transaction(|| moving::plan_moves(&self.0))?,
                    };
                    campaign.take(plan, status);
                }
                CampaignStep::Begin(moves) => {
                    let owner = driving.job().owner.clone();
                    for (number, one) in moves {
                        // The same key again, should this be lost on the way, is the
                        // same job.
                        let key = format!("{}{began} {number}", key_of(driving.job().id));
                        let job = self.job_of(&one)?;
                        let job = submit::submit_as(job, key, owner.clone(), one.destination)?;
                        campaign.begun(number, job);
                    }
                }
                CampaignStep::Finish(left) => {
                    let left = left.iter().map(|(one, job)| described(one, *job, &metadata));
                    let left = left.collect::<Result<Vec<_>, Report>>()?;
                    return Ok(Next::Finished(left.join("; ")));
                }
            }
            driving.save(&State { began, campaign: campaign.clone() })?;
        }
    }

    fn clean_up(&self, driving: &mut Driving) -> Result<Next, Report> {
        // Also those that were submitted and not noted any more.
        let (key, (_, metadata)) =
            (key_of(driving.job().id), ask_log(LogIndex(0), Duration::ZERO)?);
        let moves = metadata.jobs().all().filter(|job| job.key.starts_with(&key));
        for job in moves.filter(|job| !job.status.is_over()) {
            log::change(JobCommand::Cancel { job: job.id, at: log::now() })?;
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

/// A move that did not come about, and why.
fn described(one: &PlannedMove, job: Option<JobId>, metadata: &Metadata) -> Result<String, Report> {
    let part_name = work::in_transaction(|| moving::part_name(one.group, one.partition))?;
    let from_to = format!("from node {} to node {}", one.source, one.destination);
    Ok(match job.and_then(|job| metadata.jobs().get(job)) {
        Some(job) => format!(
            "{part_name} did not move {from_to}: job {} {}: {}",
            job.id,
            job.status.as_str(),
            job.message
        ),
        None => format!("{part_name} did not move {from_to}"),
    })
}
