//! The launcher of a node: it sees every change of the log and starts and ends
//! the workers of jobs.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use cluster::jobs::{Action, JobAnswer, JobCommand, JobId, Jobs, Outlook, Role, Running, decide};
use cluster::metadata::{Metadata, NodeState};
use cluster::{LogIndex, NodeId};
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::prelude::*;

use super::older::older_job;
use super::{log, work, worker};
use crate::catalog;
use crate::membership::{Dialog, my_identity_if_any};
use crate::report::Report;
use crate::settings;
use crate::worker::{ask_log, process};

/// For one look at the log: so often something is done without news.
const LOOK: Duration = Duration::from_secs(1);
/// Before asking a worker of the log again that did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at nodes that drive jobs.
const VISITED_AFTER: Duration = Duration::from_secs(2);
/// A node that has not answered for this time is taken for gone.
const GONE_AFTER: Duration = Duration::from_secs(8);
/// For logging in and for an answer.
const BOUND: Duration = Duration::from_secs(2);

/// Registers the launcher. Called while the library is preloaded.
pub fn register() {
    process::register("shardman job launcher", "shardman_job_launcher_main");
}

#[allow(missing_docs)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn shardman_job_launcher_main(_argument: pg_sys::Datum) {
    process::begin();
    let mut launcher = Launcher::default();
    let mut told = String::new();
    launcher.end_orphans();
    while !process::is_told_to_end() {
        match launcher.look() {
            Ok(true) => told.clear(),
            // No member, or no extension yet.
            Ok(false) => work::pause(AGAIN),
            Err(report) => {
                // The same trouble is told once, not every second.
                if told != report.message {
                    told = report.message.clone();
                    log!("shardman: could not look at jobs: {told}");
                }
                work::pause(AGAIN);
            }
        }
    }
}

#[derive(Default)]
struct Launcher {
    seen: LogIndex,
    workers: Vec<(Running, DynamicBackgroundWorker)>,
    visits: Visits,
}

impl Launcher {
    /// Workers whose launcher was lost: they would work beside ours.
    fn end_orphans(&self) {
        let ended = work::in_transaction(|| {
            Ok(Spi::run_with_args(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
                 WHERE backend_type OPERATOR(pg_catalog.=) $1",
                &[worker::TYPE.into()],
            )?)
        });
        if let Err(report) = ended {
            log!("shardman: could not end workers of jobs: {}", report.message);
        }
    }

    /// Waits for news, or a little, and does what is to be done. False if this
    /// node has nothing to do with jobs.
    fn look(&mut self) -> Result<bool, Report> {
        let is_ready = work::in_transaction(|| Ok(catalog::is_installed()))?;
        let identity = if is_ready { my_identity_if_any()? } else { None };
        let Some(identity) = identity else { return Ok(false) };
        let me = identity.node_id;
        let (index, metadata) = work::outside(|| ask_log(self.seen, LOOK))?;
        self.seen = index;
        self.workers.retain(|(_, worker)| {
            !matches!(
                worker.pid(),
                Err(BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied)
            )
        });
        if metadata.jobs().all().all(|job| job.status.is_over()) && self.workers.is_empty() {
            self.visits = Visits::default();
            return Ok(true);
        }
        self.visits.visit(&metadata, me);
        let reachable: Vec<_> = metadata
            .nodes()
            .filter(|node| node.state == NodeState::Active)
            .map(|node| node.id)
            .filter(|node| *node == me || !self.visits.is_gone(*node))
            .collect();
        let running: Vec<_> = self.workers.iter().map(|(running, _)| *running).collect();
        let waiting = waiting(metadata.jobs())?;
        let actions = decide(&Outlook {
            me,
            jobs: metadata.jobs(),
            running: &running,
            reachable: &reachable,
            waiting: &waiting,
            max_driven: settings::max_running_jobs(),
        });
        for action in actions {
            work::outside(|| self.act(action, me))?;
        }
        Ok(true)
    }

    fn act(&mut self, action: Action, me: NodeId) -> Result<(), Report> {
        match action {
            Action::Claim { job, after } => {
                let at = log::now();
                let claimed = log::propose(JobCommand::Claim { job, node: me, after, at })?;
                // Refused: another node was faster.
                if let Ok(Some(JobAnswer::Claimed { attempt })) = claimed.answer {
                    self.start(Running { job, role: Role::Driver { attempt } });
                }
            }
            Action::Start(running) => self.start(running),
            Action::Stop(running) => {
                for (_, worker) in self.workers.iter().filter(|(it, _)| *it == running) {
                    if let Ok(pid) = worker.pid() {
                        // SAFETY: a live child of the postmaster, by its handle.
                        unsafe { libc::kill(pid, libc::SIGTERM) };
                    }
                }
            }
        }
        Ok(())
    }

    /// Without a free worker the job waits: the next look tries again.
    fn start(&mut self, running: Running) {
        match worker::start(running) {
            Some(worker) => self.workers.push((running, worker)),
            None => warning!(
                "shardman: no background worker is free for job {}; raise max_worker_processes",
                running.job
            ),
        }
    }
}

/// Jobs that have to wait for others, as far as this node knows tables.
fn waiting(jobs: &Jobs) -> Result<Vec<JobId>, Report> {
    work::in_transaction(|| {
        let live = jobs.all().filter(|job| !job.status.is_over());
        let mut waiting = Vec::new();
        for job in live {
            if older_job(job, jobs)?.is_some() {
                waiting.push(job.id);
            }
        }
        Ok(waiting)
    })
}

/// Whether the nodes that jobs depend on are there.
#[derive(Default)]
struct Visits {
    sessions: HashMap<NodeId, Dialog>,
    /// Since when a node has not answered.
    silent: HashMap<NodeId, Instant>,
    last: Option<Instant>,
}

impl Visits {
    /// Visits all other nodes, if a job is some other node's to drive.
    fn visit(&mut self, metadata: &Metadata, me: NodeId) {
        let depends = metadata
            .jobs()
            .all()
            .any(|job| !job.status.is_over() && job.driver.unwrap_or(job.home) != me);
        if !depends || self.last.is_some_and(|at| at.elapsed() < VISITED_AFTER) {
            return;
        }
        let visited = BackgroundWorker::transaction(AssertUnwindSafe(|| {
            let registry = catalog::registry()?;
            for member in registry.members().iter().filter(|it| it.is_active && it.id != me) {
                match self.call(member) {
                    Ok(()) => drop(self.silent.remove(&member.id)),
                    Err(_) => {
                        self.sessions.remove(&member.id);
                        self.silent.entry(member.id).or_insert_with(Instant::now);
                    }
                }
            }
            Ok::<_, Report>(())
        }));
        if let Err(report) = visited {
            log!("shardman: could not look at the other nodes: {}", report.message);
        }
        self.last = Some(Instant::now());
    }

    fn call(&mut self, member: &catalog::Member) -> Result<(), Report> {
        use std::collections::hash_map::Entry;
        let session = match self.sessions.entry(member.id) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Dialog::open_bounded_member_session(member, BOUND)?)
            }
        };
        session.rows("SELECT 1").map(drop)
    }

    fn is_gone(&self, node: NodeId) -> bool {
        self.silent.get(&node).is_some_and(|since| since.elapsed() >= GONE_AFTER)
    }
}
