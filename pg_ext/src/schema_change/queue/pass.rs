//! One look at the log.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use cluster::metadata::{DdlCommand, DdlPosition, MetadataCommand, NodeState, Settlement};
use cluster::{LogIndex, NodeId};
use pgrx::bgworkers::BackgroundWorker;
use raft::{DdlView, Request, Response};

use super::super::standing::{self, Serving};
use super::super::token::unexpected;
use super::super::{applied, queue::entry, queue::prepared};
use crate::catalog::{Member, is_installed, registry};
use crate::membership::{Dialog, my_identity_if_any};
use crate::replicated;
use crate::report::Report;
use crate::worker;

/// How long to wait for something new in the log, in milliseconds: what is
/// prepared here is looked at as often.
const WATCH_MS: u64 = 1000;
/// The log is told how far this node is at the latest when so many entries wait
/// for that, or after this time.
const REPORT_ENTRIES: u64 = 100;
const REPORT_AFTER: Duration = Duration::from_secs(2);

/// What the worker remembers from look to look.
#[derive(Default)]
pub struct Queue {
    seen: LogIndex,
    session: Option<Dialog>,
    reported_at: Option<Instant>,
    has_failed: bool,
    /// What is to be applied before this node serves; known once a majority has
    /// said so.
    needed: Option<DdlPosition>,
}

impl Queue {
    /// Waits for something new and does what there is to do. False if there is
    /// no log.
    pub fn pass(&mut self) -> Result<bool, Report> {
        let Some(identity) = my_identity_if_any()? else { return Ok(false) };
        let me = identity.node_id;
        let Some(own) = in_transaction(|| own_member(me))? else { return Ok(false) };
        let view = watch(self.seen)?;
        let Some(state) = view.state_of(me) else { return Ok(false) };
        self.seen = view.index;
        if state == NodeState::Joining {
            // Its schema will come from a member, as of a certain position.
            standing::set(Serving::Yes);
            return Ok(true);
        }
        if state == NodeState::Down {
            standing::set(Serving::Behind);
            self.needed = None;
        }
        let done = self.catch_up(&own, &view);
        if done.is_err() {
            // Whatever it was, the next look finds a session in good order, and
            // looks at once.
            self.session = None;
            self.seen = LogIndex(0);
        }
        let position = done?;
        self.serve(state, position)?;
        self.report(me, position, &view)?;
        if state == NodeState::Down && position >= view.tail.position {
            replicated::catch_up(&own, || {
                propose(MetadataCommand::ReturnNode { node: me, position })
            })?;
        }
        Ok(true)
    }

    /// Has this node serve managed tables once it has applied what was decided
    /// anywhere before it was started, or before it was active again.
    fn serve(&mut self, state: NodeState, position: DdlPosition) -> Result<(), Report> {
        if standing::serving() == Serving::Yes || state != NodeState::Active {
            return Ok(());
        }
        let needed = match self.needed {
            Some(needed) => needed,
            None => {
                // What a majority confirms is applied here, so it is in this view.
                worker::ask(&Request::Confirm)?;
                watch(LogIndex(0))?.tail.position
            }
        };
        self.needed = Some(needed);
        standing::set(if position >= needed { Serving::Yes } else { Serving::Behind });
        if position < needed {
            // At once, not when the log goes on.
            self.seen = LogIndex(0);
        }
        Ok(())
    }

    fn catch_up(&mut self, own: &Member, view: &DdlView) -> Result<DdlPosition, Report> {
        prepared::sweep(&mut self.session, own)?;
        let mut position = in_transaction(applied::position)?;
        if standing::serving() == Serving::Unconfirmed && position < view.tail.position {
            // Statements that wait have locked what is to be changed here.
            standing::set(Serving::Behind);
        }
        while position < view.tail.position && !worker::process::is_told_to_end() {
            let next = match worker::ask(&Request::NextDdl { after: position })? {
                Response::NextDdl(next) => next,
                other => return Err(unexpected(format!("{other:?}"))),
            };
            let Some((at, accepted)) = next else { break };
            match accepted.settlement {
                Settlement::Pending => {
                    if accepted.coordinator == own.id {
                        entry::settle(accepted.entry.token, own.id)?;
                    }
                    break;
                }
                Settlement::Aborted => in_transaction(|| applied::note_position(at))?,
                Settlement::Committed => {
                    let run = entry::run(&mut self.session, own, at, &accepted.entry);
                    if let Err(report) = run {
                        self.has_failed = true;
                        in_transaction(|| entry::note_failure(at, &report))?;
                        return Err(report);
                    }
                }
            }
            position = at;
        }
        if self.has_failed && position >= view.tail.position {
            in_transaction(entry::forget_failure)?;
            self.has_failed = false;
        }
        Ok(position)
    }

    /// Tells the log how far this node is, now and then.
    fn report(&mut self, me: NodeId, position: DdlPosition, view: &DdlView) -> Result<(), Report> {
        let unreported = position.0.saturating_sub(view.applied(me).0);
        let is_due = self.reported_at.is_none_or(|at| at.elapsed() > REPORT_AFTER);
        if unreported == 0 || (unreported < REPORT_ENTRIES && !is_due) {
            return Ok(());
        }
        self.reported_at = Some(Instant::now());
        propose(MetadataCommand::Ddl(DdlCommand::NoteApplied { node: me, position }))
    }
}

/// Runs work on the catalogues in a transaction of its own.
pub fn in_transaction<R>(work: impl FnOnce() -> Result<R, Report>) -> Result<R, Report> {
    // An error that is raised ends the process, which starts anew.
    BackgroundWorker::transaction(AssertUnwindSafe(work))
}

/// Appends a command; a refusal is an error.
pub fn propose(command: MetadataCommand) -> Result<(), Report> {
    use cluster::metadata::Outcome;
    match worker::ask(&Request::Propose(command))? {
        Response::Proposed { outcome: Outcome::Refused(refusal), .. } => {
            Err(unexpected(refusal.to_string()))
        }
        _ => Ok(()),
    }
}

fn own_member(me: NodeId) -> Result<Option<Member>, Report> {
    if !is_installed() {
        return Ok(None);
    }
    Ok(registry()?.member(me).cloned())
}

fn watch(after: LogIndex) -> Result<DdlView, Report> {
    match worker::ask(&Request::WatchDdl { after, limit_ms: WATCH_MS })? {
        Response::Ddl(view) => Ok(view),
        other => Err(unexpected(format!("{other:?}"))),
    }
}
