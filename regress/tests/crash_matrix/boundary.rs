//! Where a commit can be interrupted. Node 1 coordinates and writes; nodes 2
//! and 3 are participants.

use regress::Moment;

use crate::fault::Fault;

/// Between two messages of a commit, or in the recovery of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// PREPARE TRANSACTION on this node.
    Prepare(u16, Moment),
    /// All have prepared; the commit record is written, nobody knows of it.
    Decision,
    /// COMMIT PREPARED on this node.
    Commit(u16, Moment),
    /// COMMIT PREPARED on both, not yet sent to either.
    CommitOnBoth,
    /// Recovery lists what is prepared, after a lost COMMIT PREPARED.
    RecoveryLists(Moment),
    /// Recovery commits on node 3.
    RecoveryCommits(Moment),
    /// Recovery rolls back on node 3, after a lost answer to PREPARE.
    RecoveryRollsBack(Moment),
}

impl Boundary {
    /// All of them.
    pub fn all() -> Vec<Boundary> {
        let moments = [Moment::Request, Moment::Reply];
        let mut all = vec![Boundary::Decision, Boundary::CommitOnBoth];
        for moment in moments {
            for node in [2, 3] {
                all.push(Boundary::Prepare(node, moment));
                all.push(Boundary::Commit(node, moment));
            }
            all.push(Boundary::RecoveryLists(moment));
            all.push(Boundary::RecoveryCommits(moment));
            all.push(Boundary::RecoveryRollsBack(moment));
        }
        all
    }

    /// The participant whose message it is.
    pub fn participant(self) -> u16 {
        match self {
            Boundary::Prepare(node, _) | Boundary::Commit(node, _) => node,
            Boundary::Decision | Boundary::CommitOnBoth => 2,
            _ => 3,
        }
    }

    /// Whether there is something for the fault to break.
    pub fn allows(self, fault: Fault) -> bool {
        // No message is on its way there.
        !(self == Boundary::Decision && fault == Fault::CutConnection)
    }

    /// Whether the sample has it: the two participants are alike.
    pub fn is_in_sample(self) -> bool {
        !matches!(self, Boundary::Prepare(2, _) | Boundary::Commit(2, _))
    }

    /// Whether the client has its answer before recovery is stopped.
    pub fn is_in_recovery(self) -> bool {
        matches!(
            self,
            Boundary::RecoveryLists(_)
                | Boundary::RecoveryCommits(_)
                | Boundary::RecoveryRollsBack(_)
        )
    }
}
