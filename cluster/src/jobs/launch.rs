//! What a node has to do about the jobs of the cluster: which to claim, which
//! workers to start and to end.

use super::{Job, JobId, JobKind, Jobs};
use crate::NodeId;

/// A worker's part in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It drives the job.
    Driver {
        /// As the log gave it.
        attempt: u64,
    },
    /// It does this node's task.
    Task {
        /// As the log gave it.
        round: u64,
    },
}

impl Role {
    fn is_driver(self) -> bool {
        matches!(self, Role::Driver { .. })
    }
}

/// A worker of this node that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// At which job.
    pub job: JobId,
    /// As what.
    pub role: Role,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Propose to drive the job in place of an attempt.
    Claim {
        /// Which.
        job: JobId,
        /// The attempt that is to end.
        after: u64,
    },
    /// Start a worker.
    Start(Running),
    /// End a worker: the log has revoked what it does.
    Stop(Running),
}

/// What a node sees.
pub struct Outlook<'a> {
    /// Itself.
    pub me: NodeId,
    /// The metadata's.
    pub jobs: &'a Jobs,
    /// Its workers.
    pub running: &'a [Running],
    /// Members, in ascending order, without those that it cannot reach.
    pub reachable: &'a [NodeId],
    /// Jobs that have to wait for others ([`ahead_of`](super::ahead_of)).
    pub waiting: &'a [JobId],
    /// How many jobs it may drive at the same time.
    pub max_driven: usize,
}

/// What a node has to do now. Claims that another node makes at the same time
/// are sorted out by the log.
pub fn decide(outlook: &Outlook<'_>) -> Vec<Action> {
    let mut actions: Vec<_> = outlook
        .running
        .iter()
        .filter(|worker| !is_wanted(outlook, worker))
        .map(|worker| Action::Stop(*worker))
        .collect();
    let mut driven: Vec<JobId> = outlook
        .running
        .iter()
        .filter(|worker| worker.role.is_driver())
        .map(|worker| worker.job)
        .filter(|id| outlook.jobs.get(*id).is_none_or(|job| !only_waits(job)))
        .collect();
    for job in outlook.jobs.all().filter(|job| !job.status.is_over()) {
        let at_it = |is_driver: bool| {
            outlook.running.iter().any(|it| it.job == job.id && it.role.is_driver() == is_driver)
        };
        // One worker a role: the next begins when the last has ended.
        let has_task = job.tasks.get(&outlook.me).is_some_and(|task| !task.status.is_over());
        if has_task && !at_it(false) {
            let role = Role::Task { round: job.round };
            actions.push(Action::Start(Running { job: job.id, role }));
        }
        let is_free = !at_it(true) && !outlook.waiting.contains(&job.id);
        if is_free && has_room(outlook, &driven, job) && is_mine_to_claim(outlook, job) {
            if !only_waits(job) {
                driven.push(job.id);
            }
            actions.push(Action::Claim { job: job.id, after: job.attempt });
        }
    }
    actions
}

/// A job that only waits for others, which may need a place on the same node.
fn only_waits(job: &Job) -> bool {
    matches!(job.kind, JobKind::Rebalance(_))
}

/// Those that are driven may all wait for an older one: that has to find a place.
fn has_room(outlook: &Outlook<'_>, driven: &[JobId], job: &Job) -> bool {
    let is_oldest = driven.iter().all(|id| job.id < *id);
    outlook.max_driven > 0 && (driven.len() < outlook.max_driven || is_oldest || only_waits(job))
}

/// A driver's worker is started together with its claim; one that the log
/// names without a worker was lost, so the job is claimed anew.
fn is_mine_to_claim(outlook: &Outlook<'_>, job: &Job) -> bool {
    let stands_for = job.driver.unwrap_or(job.home);
    if stands_for == outlook.me {
        return true;
    }
    // The home takes a job back only when whoever drives it is gone.
    if outlook.reachable.contains(&stands_for) {
        return false;
    }
    let heir = outlook.reachable.iter().find(|node| **node == job.home);
    heir.or(outlook.reachable.first()) == Some(&outlook.me)
}

fn is_wanted(outlook: &Outlook<'_>, worker: &Running) -> bool {
    let Some(job) = outlook.jobs.get(worker.job) else { return false };
    match worker.role {
        Role::Driver { attempt } => {
            // The claim's answer may come before this node has applied it.
            let is_ahead = job.attempt < attempt;
            let is_current = job.attempt == attempt && job.driver == Some(outlook.me);
            // One that has just finished its job ends by itself.
            let has_finished = job.attempt == attempt && job.status.is_over();
            is_ahead || is_current || has_finished
        }
        Role::Task { round } => job.round <= round,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::{JobAnswer, JobCommand, JobKind, RebalanceGoal, TaskStatus};

    const ONE: JobId = JobId(1);

    fn jobs(commands: impl IntoIterator<Item = JobCommand>) -> Jobs {
        let mut jobs = Jobs::default();
        let kind = JobKind::RemoveNode { node: NodeId(9), force: false };
        let (key, owner) = ("k".to_owned(), "alice".to_owned());
        let submit = JobCommand::Submit { key, kind, owner, home: NodeId(2), at: 0 };
        for command in std::iter::once(submit).chain(commands) {
            jobs.apply(command).expect("accepted");
        }
        jobs
    }

    fn claim(node: u32, after: u64) -> JobCommand {
        JobCommand::Claim { job: ONE, node: NodeId(node), after, at: 0 }
    }

    fn seen_by(me: u32, jobs: &Jobs, running: &[Running], reachable: &[u32]) -> Vec<Action> {
        let reachable: Vec<_> = reachable.iter().map(|node| NodeId(*node)).collect();
        let me = NodeId(me);
        let waiting = &[];
        decide(&Outlook { me, jobs, running, reachable: &reachable, waiting, max_driven: 2 })
    }

    fn driver(attempt: u64) -> Running {
        Running { job: ONE, role: Role::Driver { attempt } }
    }

    fn task(round: u64) -> Running {
        Running { job: ONE, role: Role::Task { round } }
    }

    #[test]
    fn a_new_job_is_claimed_by_its_home_alone() {
        let jobs = jobs([]);
        let claim = vec![Action::Claim { job: ONE, after: 0 }];
        assert_eq!(seen_by(2, &jobs, &[], &[1, 2, 3]), claim);
        assert_eq!(seen_by(1, &jobs, &[], &[1, 2, 3]), []);
        assert_eq!(seen_by(1, &jobs, &[], &[1, 3]), claim, "its home is gone");
        assert_eq!(seen_by(3, &jobs, &[], &[1, 3]), [], "one heir is enough");
    }

    #[test]
    fn a_driver_without_its_worker_claims_the_job_anew() {
        let jobs = jobs([claim(1, 0)]);
        assert_eq!(seen_by(1, &jobs, &[driver(1)], &[1, 2, 3]), []);
        let again = vec![Action::Claim { job: ONE, after: 1 }];
        assert_eq!(seen_by(1, &jobs, &[], &[1, 2, 3]), again);
    }

    #[test]
    fn the_home_takes_over_from_a_driver_that_is_gone() {
        let jobs = jobs([claim(1, 0)]);
        let taken = vec![Action::Claim { job: ONE, after: 1 }];
        assert_eq!(seen_by(2, &jobs, &[], &[2, 3]), taken);
        assert_eq!(seen_by(3, &jobs, &[], &[2, 3]), []);
        assert_eq!(seen_by(3, &jobs, &[], &[3]), taken);
    }

    #[test]
    fn a_worker_whose_attempt_was_taken_is_stopped_and_replaced_only_after_its_end() {
        let jobs = jobs([claim(1, 0), claim(2, 1)]);
        assert_eq!(seen_by(1, &jobs, &[driver(1)], &[1, 2]), [Action::Stop(driver(1))]);
        let canceled = JobCommand::Cancel { job: ONE, at: 0 };
        let jobs = self::jobs([claim(2, 0), canceled]);
        assert_eq!(seen_by(2, &jobs, &[driver(1)], &[1, 2]), [Action::Stop(driver(1))]);
        assert_eq!(seen_by(2, &jobs, &[], &[1, 2]), [Action::Claim { job: ONE, after: 2 }]);
    }

    #[test]
    fn a_claim_that_the_state_does_not_show_yet_is_no_reason_to_stop() {
        assert_eq!(seen_by(2, &jobs([]), &[driver(1)], &[1, 2]), []);
        assert_eq!(seen_by(2, &jobs([claim(1, 0)]), &[driver(2)], &[1, 2]), []);
    }

    #[test]
    fn tasks_are_started_where_they_are_and_stopped_when_the_round_is_over() {
        let assign = JobCommand::Assign {
            job: ONE,
            attempt: 1,
            tasks: [(NodeId(3), "build".to_owned())].into(),
        };
        let jobs = jobs([claim(1, 0), assign.clone()]);
        assert_eq!(seen_by(3, &jobs, &[], &[1, 2, 3]), [Action::Start(task(1))]);
        assert_eq!(seen_by(3, &jobs, &[task(1)], &[1, 2, 3]), []);
        assert_eq!(seen_by(2, &jobs, &[], &[1, 2, 3]), []);
        let (node, detail) = (NodeId(3), String::new());
        let status = TaskStatus::Done;
        let done = JobCommand::Report { job: ONE, round: 1, node, status, detail };
        let jobs = self::jobs([claim(1, 0), assign.clone(), done]);
        assert_eq!(seen_by(3, &jobs, &[], &[1, 2, 3]), []);
        let jobs = self::jobs([claim(1, 0), assign, JobCommand::Cancel { job: ONE, at: 0 }]);
        assert_eq!(seen_by(3, &jobs, &[task(1)], &[1, 2, 3]), [Action::Stop(task(1))]);
    }

    /// Submits another one, whose home is node 2, too.
    fn add(jobs: &mut Jobs, kind: JobKind) -> JobId {
        let (key, owner) = (jobs.all().count().to_string(), "alice".to_owned());
        let submit = JobCommand::Submit { key, kind, owner, home: NodeId(2), at: 0 };
        match jobs.apply(submit) {
            Ok(Some(JobAnswer::Submitted { id })) => id,
            other => panic!("{other:?}"),
        }
    }

    fn claimed(actions: Vec<Action>) -> Vec<JobId> {
        let claimed = |action| match action {
            Action::Claim { job, .. } => Some(job),
            _ => None,
        };
        actions.into_iter().filter_map(claimed).collect()
    }

    #[test]
    fn no_more_jobs_are_driven_than_allowed() {
        let mut jobs = jobs([]);
        let kind = JobKind::DropTablespace { name: "t".to_owned() };
        let others: Vec<_> = (0..3).map(|_| add(&mut jobs, kind.clone())).collect();
        assert_eq!(claimed(seen_by(2, &jobs, &[], &[1, 2])), [ONE, others[0]]);
        let running = |job| Running { job, role: Role::Driver { attempt: 1 } };
        let busy = [running(ONE), running(others[1])];
        assert_eq!(claimed(seen_by(2, &jobs, &busy, &[1, 2])), []);
        assert_eq!(claimed(seen_by(2, &jobs, &busy[..1], &[1, 2])), [others[0]]);
    }

    #[test]
    fn a_job_that_waits_for_another_takes_no_place() {
        let jobs = jobs([]);
        let (reachable, running) = ([NodeId(1), NodeId(2)], &[]);
        let outlook = |waiting| Outlook {
            me: NodeId(2),
            jobs: &jobs,
            running,
            reachable: &reachable,
            waiting,
            max_driven: 2,
        };
        assert_eq!(claimed(decide(&outlook(&[ONE]))), []);
        assert_eq!(claimed(decide(&outlook(&[]))), [ONE]);
    }

    #[test]
    fn the_oldest_job_finds_a_place_even_if_there_is_none() {
        let mut jobs = jobs([]);
        let kind = JobKind::DropTablespace { name: "t".to_owned() };
        let busy = [add(&mut jobs, kind.clone()), add(&mut jobs, kind.clone())];
        add(&mut jobs, kind);
        let busy = busy.map(|job| Running { job, role: Role::Driver { attempt: 1 } });
        assert_eq!(claimed(seen_by(2, &jobs, &busy, &[1, 2])), [ONE]);
    }

    #[test]
    fn a_rebalancing_takes_no_place_from_its_moves() {
        let mut jobs = jobs([]);
        let rebalance = add(&mut jobs, JobKind::Rebalance(RebalanceGoal::default()));
        let kind = JobKind::DropTablespace { name: "t".to_owned() };
        let (second, third) = (add(&mut jobs, kind.clone()), add(&mut jobs, kind));
        assert_eq!(claimed(seen_by(2, &jobs, &[], &[1, 2])), [ONE, rebalance, second]);
        let busy = [Running { job: rebalance, role: Role::Driver { attempt: 1 } }];
        assert!(!claimed(seen_by(2, &jobs, &busy, &[1, 2])).contains(&third));
    }
}
