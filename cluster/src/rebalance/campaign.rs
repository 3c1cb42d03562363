//! A rebalancing as it goes on: rounds of moves, each planned from where
//! partitions are then, until nothing is left to move.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PlannedMove, choose_next};
use crate::jobs::{JobId, JobStatus};
use crate::{PartitionNumber, TableId};

/// So often a partition is tried whose moves fail.
const TRIES: usize = 3;
/// So many plans are made at most: tables come and go meanwhile.
const ROUNDS: u32 = 8;

/// What was planned and tried. A job keeps it from one attempt to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    rounds: u32,
    /// Where the present round begins among `moves`.
    #[serde(default)]
    present: usize,
    moves: Vec<Try>,
    /// What the last plan wants and nobody tries any more.
    #[serde(default)]
    given_up: Vec<PlannedMove>,
    #[serde(default)]
    is_over: bool,
}

/// A move, tried by a job of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Try {
    planned: PlannedMove,
    job: Option<JobId>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CampaignStep {
    /// Make a plan from where partitions are now and give it to
    /// [`Campaign::take`]; after a pause, if moves have failed.
    Plan {
        /// Whether some have.
        has_failed: bool,
    },
    /// Begin these moves, each under its number, and tell [`Campaign::begun`].
    Begin(Vec<(usize, PlannedMove)>),
    /// Wait for a job to end.
    Wait,
    /// It is over but for these, each with the job that tried it last.
    Finish(Vec<(PlannedMove, Option<JobId>)>),
}

impl Campaign {
    /// What comes next. `status` is what is known of a job: one that is not known
    /// any more has ended long ago.
    pub fn next(&self, status: impl Fn(JobId) -> Option<JobStatus>, most: usize) -> CampaignStep {
        if self.is_over {
            let last = |one: &PlannedMove| {
                let tries = self.moves.iter().filter(|it| part(&it.planned) == part(one));
                tries.filter_map(|it| it.job).next_back()
            };
            return CampaignStep::Finish(
                self.given_up.iter().map(|one| (*one, last(one))).collect(),
            );
        }
        let round = &self.moves[self.present..];
        let is_running =
            |one: &&Try| one.job.is_some_and(|job| status(job).is_some_and(|s| !s.is_over()));
        let running: Vec<_> = round.iter().filter(is_running).map(|one| one.planned).collect();
        let waiting: Vec<_> =
            round.iter().filter(|one| one.job.is_none()).map(|one| one.planned).collect();
        if running.is_empty() && waiting.is_empty() {
            let has_failed = round.iter().any(|one| has_failed(one, &status));
            return CampaignStep::Plan { has_failed };
        }
        let chosen = choose_next(&waiting, &running, most);
        let numbered = (self.present..).zip(round);
        let chosen: Vec<_> = numbered
            .filter(|(_, one)| one.job.is_none() && chosen.contains(&one.planned))
            .map(|(number, one)| (number, one.planned))
            .collect();
        if chosen.is_empty() { CampaignStep::Wait } else { CampaignStep::Begin(chosen) }
    }

    /// Takes a new plan. What was canceled, or failed too often, is not tried again.
    pub fn take(&mut self, plan: Vec<PlannedMove>, status: impl Fn(JobId) -> Option<JobStatus>) {
        let mut failures = BTreeMap::<(TableId, PartitionNumber), usize>::new();
        for one in &self.moves {
            let weight = match one.job.and_then(&status) {
                Some(JobStatus::Canceled) => TRIES,
                _ => usize::from(has_failed(one, &status)),
            };
            *failures.entry(part(&one.planned)).or_default() += weight;
        }
        let is_hopeless =
            |one: &PlannedMove| failures.get(&part(one)).is_some_and(|count| *count >= TRIES);
        let (hopeless, hopeful): (Vec<_>, Vec<_>) = plan.into_iter().partition(is_hopeless);
        self.present = self.moves.len();
        self.rounds += 1;
        self.is_over = hopeful.is_empty() || self.rounds > ROUNDS;
        self.given_up = hopeless;
        if self.is_over {
            self.given_up.extend(hopeful);
        } else {
            self.moves.extend(hopeful.into_iter().map(|planned| Try { planned, job: None }));
        }
    }

    /// Whether no plan was made yet.
    pub fn is_new(&self) -> bool {
        self.rounds == 0
    }

    /// A job does the move of this number.
    pub fn begun(&mut self, number: usize, job: JobId) {
        if let Some(one) = self.moves.get_mut(number) {
            one.job = Some(job);
        }
    }
}

fn part(one: &PlannedMove) -> (TableId, PartitionNumber) {
    (one.group, one.partition)
}

fn has_failed(one: &Try, status: &impl Fn(JobId) -> Option<JobStatus>) -> bool {
    let ended = one.job.and_then(status);
    matches!(ended, Some(JobStatus::Failed | JobStatus::Canceled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    fn planned(partition: u16, source: u32, destination: u32) -> PlannedMove {
        PlannedMove {
            group: TableId(1),
            partition: PartitionNumber(partition),
            source: NodeId(source),
            destination: NodeId(destination),
            bytes: 1,
        }
    }

    /// Runs a campaign whose moves end as `ends` says, given the move and how often
    /// its partition was tried before. Returns the tries and what was left.
    fn run(
        mut plan: Vec<PlannedMove>,
        ends: impl Fn(&PlannedMove, usize) -> JobStatus,
    ) -> (Vec<PlannedMove>, Vec<(PlannedMove, Option<JobId>)>) {
        let mut campaign = Campaign::default();
        let mut tried: Vec<(PlannedMove, JobStatus)> = Vec::new();
        for _ in 0..1000 {
            let status = |job: JobId| Some(tried[job.0 as usize].1);
            match campaign.next(status, 2) {
                CampaignStep::Plan { .. } => campaign.take(plan.clone(), status),
                CampaignStep::Wait => panic!("nothing runs"),
                CampaignStep::Begin(moves) => {
                    assert!(moves.len() <= 2);
                    for (number, one) in moves {
                        let before = tried.iter().filter(|(it, _)| *it == one).count();
                        let end = ends(&one, before);
                        campaign.begun(number, JobId(tried.len() as u64));
                        tried.push((one, end));
                        if end == JobStatus::Success {
                            plan.retain(|it| *it != one);
                        }
                    }
                }
                CampaignStep::Finish(left) => {
                    return (tried.into_iter().map(|(one, _)| one).collect(), left);
                }
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn it_ends_when_nothing_is_left_to_move() {
        let plan = vec![planned(0, 1, 2), planned(1, 1, 2), planned(2, 1, 3)];
        let (tried, left) = run(plan.clone(), |_, _| JobStatus::Success);
        assert_eq!(tried.len(), 3);
        assert!(plan.iter().all(|one| tried.contains(one)));
        assert_eq!(left, []);
    }

    #[test]
    fn a_move_that_fails_is_tried_again() {
        let plan = vec![planned(0, 1, 2), planned(1, 1, 3)];
        let (tried, left) = run(plan, |one, before| match (one.partition.0, before) {
            (1, 0 | 1) => JobStatus::Failed,
            _ => JobStatus::Success,
        });
        assert_eq!(tried.iter().filter(|one| one.partition.0 == 1).count(), 3);
        assert_eq!(left, []);
    }

    #[test]
    fn what_fails_again_and_again_is_told_with_its_last_job() {
        let plan = vec![planned(0, 1, 2), planned(1, 1, 3)];
        let (tried, left) = run(plan, |one, _| match one.partition.0 {
            1 => JobStatus::Failed,
            _ => JobStatus::Success,
        });
        assert_eq!(tried.len(), 1 + TRIES);
        assert_eq!(left, [(planned(1, 1, 3), Some(JobId(tried.len() as u64 - 1)))]);
    }

    #[test]
    fn what_somebody_has_canceled_is_left_alone() {
        let (tried, left) = run(vec![planned(0, 1, 2)], |_, _| JobStatus::Canceled);
        assert_eq!(tried.len(), 1);
        assert_eq!(left, [(planned(0, 1, 2), Some(JobId(0)))]);
    }

    #[test]
    fn a_plan_that_is_never_fulfilled_ends() {
        let mut campaign = Campaign::default();
        let status = |_| Some(JobStatus::Success);
        for _ in 0..1000 {
            match campaign.next(status, 1) {
                CampaignStep::Plan { .. } => campaign.take(vec![planned(0, 1, 2)], status),
                CampaignStep::Begin(moves) => campaign.begun(moves[0].0, JobId(7)),
                CampaignStep::Wait => panic!("nothing runs"),
                CampaignStep::Finish(left) => {
                    return assert_eq!(left, [(planned(0, 1, 2), Some(JobId(7)))]);
                }
            }
        }
        panic!("it does not end");
    }
}
