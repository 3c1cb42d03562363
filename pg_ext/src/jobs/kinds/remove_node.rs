//! Taking a node out of the cluster.

use std::time::{Duration, Instant};

use cluster::NodeId;
use cluster::metadata::{MetadataCommand, Outcome, Refusal};
use pgrx::prelude::*;
use raft::{Request, Response};
use serde::{Deserialize, Serialize};

use crate::catalog::registry;
use crate::jobs::driving::Driving;
use crate::jobs::kind::{Kind, Next};
use crate::jobs::work;
use crate::membership::{Dialog, my_identity};
use crate::replicated;
use crate::report::Report;
use crate::schema_change::lock_ddl;
use crate::worker;

/// For logging in to the node that goes, and for its answer.
const BOUND: Duration = Duration::from_secs(5);

/// The node.
pub struct RemoveNode {
    pub node: NodeId,
    pub force: bool,
}

/// Where the job is.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Nothing was done.
    #[default]
    Beginning,
    /// Its record may be gone from the log; these were in it.
    Removing { connstr: String, name: String },
    /// It is no member of Raft any more and is to know it.
    Telling { connstr: String, name: String },
}

impl Kind for RemoveNode {
    fn step(&self, driving: &mut Driving) -> Result<Next, Report> {
        match driving.state::<State>()? {
            State::Beginning => {
                let record = driving.metadata().node(self.node).ok_or_else(|| self.unknown())?;
                let (connstr, name) = (record.connstr.clone(), record.name.clone());
                if driving.active_nodes().iter().all(|node| *node == self.node) {
                    let code = PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
                    return Err(Report::new(code, format!("node {} is the only one", self.node)));
                }
                driving.save(&State::Removing { connstr, name })?;
                Ok(Next::Again)
            }
            State::Removing { connstr, name } => {
                work::in_transaction(|| self.take_out(&name))?;
                // Voters first: a majority must not count on it.
                worker::ask(&Request::RemoveMember { node: self.node })?;
                driving.save(&State::Telling { connstr, name })?;
                Ok(Next::Again)
            }
            State::Telling { connstr, name } => {
                let told = work::in_transaction(|| tell(&connstr, &name));
                Ok(Next::Finished(match told {
                    Ok(()) => String::new(),
                    Err(report) => format!(
                        "node {} was removed but could not be told: {}; it will be refused when it comes back",
                        self.node, report.message
                    ),
                }))
            }
        }
    }
}

impl RemoveNode {
    /// Takes its record out of the log, while no table can be given to it.
    fn take_out(&self, name: &str) -> Result<(), Report> {
        lock_ddl()?;
        let mut others = self.sessions_with_others()?;
        let held = Instant::now();
        // An earlier attempt may have come as far as this.
        let holds = !self.force && registry()?.member(self.node).is_some();
        if holds {
            self.check_empty(name)?;
            // Who has begun to write replicated tables ends with the nodes that it
            // began with.
            replicated::hold_writers()?;
        }
        let command = MetadataCommand::RemoveNode { node: self.node };
        match worker::ask(&Request::Propose(command))? {
            Response::Proposed {
                outcome: Outcome::Refused(Refusal::UnknownNode { .. }), ..
            } => {}
            Response::Proposed { outcome: Outcome::Applied, .. } => {}
            other => {
                let code = PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
                let report = Report::new(code, format!("could not remove node {}", self.node));
                return Err(report.detail(format!("{other:?}")));
            }
        }
        self.wait_until_unlisted(&mut others)?;
        if holds {
            log!(
                "shardman: writers of replicated tables waited {} ms for node {} to leave",
                held.elapsed().as_millis(),
                self.node
            );
        }
        Ok(())
    }

    fn check_empty(&self, name: &str) -> Result<(), Report> {
        let held = Spi::get_one_with_args::<i64>(
            "SELECT pg_catalog.count(*) FROM shardman.parts
             WHERE node_id OPERATOR(pg_catalog.=) $1",
            &[(self.node.0 as i32).into()],
        )?;
        let held = held.unwrap_or(0);
        if held == 0 {
            return Ok(());
        }
        Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            format!("node \"{name}\" holds {held} partitions; move them to other nodes first"),
        ))
    }

    /// With the nodes that stay, by name.
    fn sessions_with_others(&self) -> Result<Vec<(String, Dialog)>, Report> {
        let me = my_identity()?.node_id;
        let registry = registry()?;
        let stays = |id: NodeId| id != me && id != self.node;
        let others = registry.members().iter().filter(|node| node.is_active && stays(node.id));
        others.map(|other| Ok((other.name.clone(), Dialog::open_member_session(other)?))).collect()
    }

    /// From here on no node gives it a partition.
    fn wait_until_unlisted(&self, others: &mut [(String, Dialog)]) -> Result<(), Report> {
        worker::wait_until(|| Ok(registry()?.member(self.node).is_none()), "the node to be gone")?;
        for (name, session) in others {
            let sql = format!(
                "SELECT 1 FROM shardman.node WHERE id OPERATOR(pg_catalog.=) {}",
                self.node
            );
            worker::wait_until(
                || Ok(session.column(&sql)?.is_empty()),
                &format!("node \"{name}\" to take notice of the removal"),
            )?;
        }
        Ok(())
    }

    fn unknown(&self) -> Report {
        let code = PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT;
        Report::new(code, format!("node {} does not exist", self.node))
    }
}

/// Has the node forget the cluster.
fn tell(connstr: &str, name: &str) -> Result<(), Report> {
    let mut session = Dialog::open_bounded_session(connstr, name, BOUND)?;
    session.rows("SELECT shardman.leave_cluster()").map(drop)
}
