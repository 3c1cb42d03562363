//! What goes wrong, and when. Node 1 is the table's home, node 2 runs the
//! transaction, node 3 has a copy.

use regress::Moment;

/// A message of a transaction that writes a replicated table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Node 2 asks node 1 for the writer lock.
    Lock,
    /// Changes go to this node.
    Rows(u16),
    /// PREPARE TRANSACTION on this node.
    Prepare(u16),
    /// All have prepared, and node 2 is committed; this node does not know.
    Commit(u16),
}

impl Step {
    /// The node that the message goes to.
    pub fn node(self) -> u16 {
        match self {
            Step::Lock => 1,
            Step::Rows(node) | Step::Prepare(node) | Step::Commit(node) => node,
        }
    }

    /// What the message's statement begins with.
    pub fn statement(self) -> &'static str {
        match self {
            Step::Lock => "SELECT shardman.lock_writers",
            Step::Rows(_) => "SELECT shardman.apply_changes",
            Step::Prepare(_) => "PREPARE TRANSACTION",
            Step::Commit(_) => "COMMIT PREPARED 'sc_",
        }
    }
}

/// What happens to a node, or to the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL for every process of this node.
    Kill(u16),
    /// They stop for a while.
    Pause(u16),
    /// The message's connection is closed.
    Cut,
}

/// One step and one fault.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub step: Step,
    pub moment: Moment,
    pub fault: Fault,
}

/// Every step, on both sides of its server, with every fault.
pub fn all() -> Vec<Case> {
    let steps = [
        Step::Lock,
        Step::Rows(1),
        Step::Rows(3),
        Step::Prepare(1),
        Step::Prepare(3),
        Step::Commit(1),
        Step::Commit(3),
    ];
    let faults = [1, 2, 3].into_iter().flat_map(|node| [Fault::Kill(node), Fault::Pause(node)]);
    let faults: Vec<_> = faults.chain([Fault::Cut]).collect();
    let mut all = Vec::new();
    for step in steps {
        for moment in [Moment::Request, Moment::Reply] {
            all.extend(faults.iter().map(|fault| Case { step, moment, fault: *fault }));
        }
    }
    all
}

/// A few: each step and each fault once.
pub fn sample() -> Vec<Case> {
    let case = |step, moment, fault| Case { step, moment, fault };
    vec![
        case(Step::Lock, Moment::Reply, Fault::Kill(2)),
        case(Step::Lock, Moment::Request, Fault::Cut),
        case(Step::Rows(1), Moment::Reply, Fault::Kill(1)),
        case(Step::Rows(3), Moment::Request, Fault::Pause(3)),
        case(Step::Prepare(1), Moment::Request, Fault::Pause(1)),
        case(Step::Prepare(3), Moment::Reply, Fault::Kill(3)),
        case(Step::Commit(1), Moment::Request, Fault::Pause(2)),
    ]
}
