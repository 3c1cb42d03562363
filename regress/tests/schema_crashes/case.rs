//! Where a change of the schema can be interrupted, and by what. Node 2
//! coordinates, node 3 is the participant whose messages are held.

use regress::Moment;

/// What the transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The schema alone: the log's answer decides.
    SchemaOnly,
    /// Rows on every node too: the coordinator's commit decides.
    WithRows,
}

/// Between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The participant is told to take part: it inserts its marker.
    Marker(Moment),
    /// PREPARE TRANSACTION. Its reply held, all are prepared and nothing is
    /// appended.
    Prepare(Moment),
    /// The entry is in the log; the coordinator has not committed.
    Accepted,
    /// COMMIT PREPARED: the coordinator has committed.
    Commit(Moment),
    /// A node that was away runs the change by itself: it has not saved its
    /// position.
    Replay(Moment),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL for the backend that coordinates: its server restarts all others.
    KillBackend,
    /// SIGKILL for every process of the coordinator's node.
    KillCoordinator,
    /// SIGKILL for every process of the participant.
    KillParticipant,
    /// SIGKILL for every process of the node that leads the metadata log.
    KillLeader,
    /// The coordinator's node stops for longer than a token lives.
    PauseCoordinator,
    /// The participant's node stops for a while.
    PauseParticipant,
    /// The message is lost and its connection is closed.
    CutConnection,
}

const FAULTS: [Fault; 7] = [
    Fault::KillBackend,
    Fault::KillCoordinator,
    Fault::KillParticipant,
    Fault::KillLeader,
    Fault::PauseCoordinator,
    Fault::PauseParticipant,
    Fault::CutConnection,
];

/// One case.
pub type Case = (Work, Boundary, Fault);

fn boundaries() -> Vec<Boundary> {
    let mut all = vec![Boundary::Accepted];
    for moment in [Moment::Request, Moment::Reply] {
        all.extend([
            Boundary::Marker(moment),
            Boundary::Prepare(moment),
            Boundary::Commit(moment),
            Boundary::Replay(moment),
        ]);
    }
    all
}

/// Whether there is something for the fault to break.
fn is_possible((work, boundary, fault): Case) -> bool {
    match boundary {
        // No message of a participant is on its way.
        Boundary::Accepted => !matches!(fault, Fault::CutConnection),
        // The coordinator is done; a change with rows needs no other test.
        Boundary::Replay(_) => {
            work == Work::SchemaOnly
                && matches!(
                    fault,
                    Fault::KillParticipant | Fault::CutConnection | Fault::PauseParticipant
                )
        }
        _ => true,
    }
}

/// Every case that can happen.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for work in [Work::SchemaOnly, Work::WithRows] {
        for boundary in boundaries() {
            cases.extend(FAULTS.map(|fault| (work, boundary, fault)));
        }
    }
    cases.retain(|case| is_possible(*case));
    cases
}

/// The steps that differ most, each with a fault that hurts there.
pub fn sample() -> Vec<Case> {
    use Boundary::*;
    use Moment::{Reply, Request};
    use Work::*;
    vec![
        (SchemaOnly, Marker(Reply), Fault::KillParticipant),
        (SchemaOnly, Prepare(Reply), Fault::PauseCoordinator),
        (SchemaOnly, Prepare(Reply), Fault::KillCoordinator),
        (SchemaOnly, Prepare(Request), Fault::KillLeader),
        (SchemaOnly, Accepted, Fault::KillBackend),
        (SchemaOnly, Accepted, Fault::KillCoordinator),
        (WithRows, Accepted, Fault::KillCoordinator),
        (WithRows, Prepare(Reply), Fault::KillBackend),
        (WithRows, Commit(Request), Fault::CutConnection),
        (SchemaOnly, Commit(Request), Fault::KillCoordinator),
        (SchemaOnly, Replay(Reply), Fault::KillParticipant),
    ]
}
