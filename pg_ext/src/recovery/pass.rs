//! One look at all nodes.

use std::collections::HashMap;

use cluster::NodeId;
use cluster::txn::{CoordinatorRecord, Leftovers, Listing, Verdict, decide};

use super::decision::{decisions, forget};
use super::local::outcome_here;
use super::nodes::{Prepared, Sessions, is_absence};
use super::orphans;
use crate::catalog::{Member, registry};
use crate::counters::note_recovered;
use crate::membership::my_identity_if_any;
use crate::report::Report;

/// What a pass did.
pub struct Tally {
    /// Parts committed or rolled back.
    pub finished: i64,
    /// What an operator should know, one line each.
    pub troubles: Vec<String>,
    /// What is left of this node's transactions.
    pub leftovers: Leftovers,
}

impl Default for Tally {
    fn default() -> Self {
        Tally { finished: 0, troubles: Vec::new(), leftovers: Leftovers::None }
    }
}

/// A pass under way.
pub struct Pass<'a> {
    pub me: NodeId,
    pub members: &'a [Member],
    pub sessions: &'a mut Sessions,
    /// What is prepared where.
    pub prepared: Vec<Prepared>,
    pub listing: Listing,
    pub tally: Tally,
}

/// Looks at every node, finishes what this one coordinated, and what is
/// prepared here if nobody else can. Must run in a transaction; what is done on
/// other nodes is done at once.
pub fn run(sessions: &mut Sessions) -> Result<Tally, Report> {
    let Some(identity) = my_identity_if_any()? else { return Ok(Tally::default()) };
    let registry = registry()?;
    if registry.members().len() < 2 {
        return Ok(Tally::default());
    }
    // Read before the listing: only these may be settled by it.
    let decided_before = decisions()?;
    let mut pass = Pass {
        me: identity.node_id,
        members: registry.members(),
        sessions,
        prepared: Vec::new(),
        listing: Listing::default(),
        tally: Tally::default(),
    };
    pass.list();
    pass.finish_own()?;
    orphans::finish(&mut pass)?;
    let is_member = |node| registry.members().iter().any(|member| member.id == node);
    let settled = decided_before.iter().filter(|decision| {
        pass.listing.settles(decision.transaction, &decision.participants, is_member)
    });
    forget(&settled.map(|decision| decision.transaction).collect::<Vec<_>>())?;
    Ok(pass.tally)
}

impl Pass<'_> {
    /// The member with an id.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// COMMIT or ROLLBACK PREPARED, where it was listed.
    pub fn finish(&mut self, found: &Prepared, verb: &str) {
        let members = self.members;
        let Some(member) = members.iter().find(|member| member.id == found.node) else { return };
        match self.sessions.finish(member, &found.gid, verb) {
            Ok(()) => {
                self.tally.finished += 1;
                note_recovered();
            }
            Err(report) => {
                if found.gid.transaction.coordinator == self.me {
                    self.tally.leftovers = Leftovers::Some;
                }
                self.tally.troubles.push(format!(
                    "could not finish transaction \"{}\" on node {}: {}",
                    found.gid, found.node, report.message
                ));
            }
        }
    }

    fn list(&mut self) {
        for member in self.members {
            match self.sessions.list(member) {
                Ok(found) => {
                    self.listing.note(member.id, found.iter().map(|part| part.gid.transaction));
                    self.prepared.extend(found);
                }
                Err(report) => {
                    self.tally.leftovers = Leftovers::Some;
                    // A node that is down is looked at again in the next pass.
                    if !is_absence(&report) {
                        let Report { message, .. } = report;
                        let trouble = format!("could not look at node {}: {message}", member.id);
                        self.tally.troubles.push(trouble);
                    }
                }
            }
        }
    }

    /// What this node coordinated: it knows.
    fn finish_own(&mut self) -> Result<(), Report> {
        let is_mine = |found: &Prepared| found.gid.transaction.coordinator == self.me;
        let (mine, others) = std::mem::take(&mut self.prepared).into_iter().partition(is_mine);
        self.prepared = others;
        let mine: Vec<Prepared> = mine;
        // First whether it is over, then the row: the other way round a commit in
        // between would look like an abort.
        let mut outcomes = HashMap::new();
        for found in &mine {
            outcomes.insert(found.gid.transaction, outcome_here(found.gid.transaction)?);
        }
        let decided = if mine.is_empty() { Vec::new() } else { decisions()? };
        for found in &mine {
            if found.gid.token.is_some() {
                // That node's queue does it, as the metadata log says.
                self.tally.leftovers = match (found.is_old, self.tally.leftovers) {
                    (false, Leftovers::None) => Leftovers::OnlyYoung,
                    (false, other) => other,
                    (true, _) => Leftovers::Some,
                };
                continue;
            }
            let record = CoordinatorRecord {
                outcome: outcomes[&found.gid.transaction],
                has_decision: decided.iter().any(|it| it.transaction == found.gid.transaction),
            };
            match decide(record, found.is_old) {
                Verdict::Wait => {
                    if !found.is_old && self.tally.leftovers == Leftovers::None {
                        self.tally.leftovers = Leftovers::OnlyYoung;
                    }
                }
                Verdict::Commit => self.finish(found, "COMMIT"),
                Verdict::Rollback => self.finish(found, "ROLLBACK"),
                Verdict::Undecided => self.tally.troubles.push(format!(
                    "transaction \"{}\" is prepared on node {}, and this node knows nothing of it",
                    found.gid, found.node
                )),
            }
        }
        Ok(())
    }
}
