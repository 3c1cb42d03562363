//! Asking all nodes for their lock waits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use cluster::NodeId;
use cluster::deadlock::{Deadlock, NodeReport};
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

use super::victim;
use crate::catalog::{Member, registry};
use crate::membership::{Dialog, my_identity_if_any};
use crate::report::Report;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A node that did not answer is left out for this time: its transactions wait
/// for it anyway, and the others' deadlocks are not to.
const ABSENCE: Duration = Duration::from_secs(5);
/// What the detector asks.
const LOCKS: &str = "SELECT shardman.local_locks()::pg_catalog.text";

/// Sessions with the other nodes, kept from round to round.
#[derive(Default)]
pub struct Observers {
    sessions: HashMap<NodeId, Dialog>,
    absent: HashMap<NodeId, Instant>,
}

/// What came of a question.
#[derive(Default)]
pub struct Answers {
    /// Of each node that answered, ours too.
    pub answers: Vec<(NodeId, String)>,
    /// Nodes that did not, and why.
    pub troubles: Vec<String>,
}

/// What came of a look at all locks.
#[derive(Default)]
pub struct Round {
    /// One report of each node that answered, ours too.
    pub reports: Vec<NodeReport>,
    /// Nodes that did not, and why.
    pub troubles: Vec<String>,
}

impl Observers {
    /// Opens sessions with all other nodes that there are none with. One that
    /// cannot be reached shows when it is asked.
    pub fn open(&mut self) {
        let Ok(Some(identity)) = my_identity_if_any() else { return };
        let Ok(registry) = registry() else { return };
        for member in registry.members().iter().filter(|member| member.id != identity.node_id) {
            if !self.sessions.contains_key(&member.id)
                && !self.is_absent(member.id)
                && let Err(report) = self.session(member).map(drop)
            {
                self.note_absence(member, report);
            }
        }
    }

    /// All nodes' lock waits. Must run in a transaction with a snapshot, a new
    /// one for each round.
    pub fn look(&mut self) -> Result<Round, Report> {
        let Answers { answers, troubles } = self.ask_all(LOCKS)?;
        let reports = answers.iter().map(|(_, text)| read(text)).collect::<Result<_, _>>()?;
        Ok(Round { reports, troubles })
    }

    /// Asks all nodes at the same time for the one value of a query. Must run
    /// in a transaction with a snapshot.
    pub fn ask_all(&mut self, question: &str) -> Result<Answers, Report> {
        let mut all = Answers::default();
        let Some(identity) = my_identity_if_any()? else { return Ok(all) };
        let registry = registry()?;
        let mut asked = Vec::new();
        for member in registry.members().iter().filter(|member| member.id != identity.node_id) {
            if self.is_absent(member.id) {
                continue;
            }
            match self.session(member).and_then(|session| session.send(question)) {
                Ok(ticket) => asked.push((member, ticket)),
                Err(report) => all.troubles.push(self.note_absence(member, report)),
            }
        }
        let deadline = Instant::now() + PATIENCE;
        let own = Spi::get_one::<String>(question)?.unwrap_or_default();
        all.answers.push((identity.node_id, own));
        for (member, ticket) in asked {
            match self.answer(member, ticket, question, deadline) {
                Ok(text) => all.answers.push((member.id, text)),
                Err(report) => all.troubles.push(self.note_absence(member, report)),
            }
        }
        Ok(all)
    }

    /// Ends the wait of a deadlock's victim, on whatever node it is. False if
    /// that wait is over or being ended.
    pub fn end(&mut self, deadlock: &Deadlock, me: NodeId) -> Result<bool, Report> {
        let (node, pid, since) = deadlock.wait_to_end();
        let detail = deadlock.detail();
        if node == me {
            return Ok(victim::end_wait(pid, since, &detail));
        }
        let Some(session) = self.sessions.get_mut(&node) else { return Ok(false) };
        let detail = quote_literal(&detail);
        let sql = format!("SELECT shardman.end_wait({pid}, {since}, {detail})");
        let ticket = session.send(&sql)?;
        let rows = session.receive(ticket, &sql, Instant::now() + PATIENCE)?;
        Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some("t"))
    }

    fn is_absent(&self, node: NodeId) -> bool {
        self.absent.get(&node).is_some_and(|since| since.elapsed() < ABSENCE)
    }

    fn session(&mut self, member: &Member) -> Result<&mut Dialog, Report> {
        match self.sessions.entry(member.id) {
            Entry::Occupied(kept) => Ok(kept.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Dialog::open_member_session(member)?)),
        }
    }

    fn answer(
        &mut self,
        member: &Member,
        ticket: u64,
        question: &str,
        deadline: Instant,
    ) -> Result<String, Report> {
        let rows = self.session(member)?.receive(ticket, question, deadline)?;
        Ok(rows.into_iter().flatten().flatten().next().unwrap_or_default())
    }

    fn note_absence(&mut self, member: &Member, report: Report) -> String {
        self.sessions.remove(&member.id);
        self.absent.insert(member.id, Instant::now());
        format!("could not look at node {}: {}", member.id, report.message)
    }
}

fn read(text: &str) -> Result<NodeReport, Report> {
    serde_json::from_str(text).map_err(|error| {
        let code = PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION;
        Report::new(code, "could not read a node's lock waits").detail(error.to_string())
    })
}
