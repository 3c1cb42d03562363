//! What becomes of a participant that is found prepared.
//!
//! The rule is presumed abort: the coordinator writes a decision row into its
//! own transaction before the first PREPARE is sent, so the row is there
//! exactly if that transaction committed. Whoever finds a prepared participant
//! asks the coordinator, in this order: list the prepared ones, *then* look at
//! the coordinator's transaction and its row.

use super::Gid;

/// What became of the coordinator's own transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalOutcome {
    /// A live backend still works on it: it will finish its participants.
    InProgress,
    /// It is over, or so old that nobody remembers.
    Over,
    /// The coordinator does not know this transaction id: its data directory is
    /// older than the transaction.
    Unknown,
}

/// What the coordinator knows of a transaction, read after the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoordinatorRecord {
    /// Of its own transaction.
    pub outcome: LocalOutcome,
    /// Whether the decision row is visible.
    pub has_decision: bool,
}

/// What is to be done with a prepared participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet: someone live is at it.
    Wait,
    /// `COMMIT PREPARED`.
    Commit,
    /// `ROLLBACK PREPARED`.
    Rollback,
    /// Nothing: it cannot be decided safely, an operator must look.
    Undecided,
}

/// The fate of a participant. `seen_before` says that an earlier look, long
/// enough ago for a live backend to have sent its second phase, found it too.
pub fn decide(record: CoordinatorRecord, seen_before: bool) -> Verdict {
    match (record.outcome, record.has_decision) {
        (LocalOutcome::InProgress, _) => Verdict::Wait,
        (_, _) if !seen_before => Verdict::Wait,
        (_, true) => Verdict::Commit,
        (LocalOutcome::Over, false) => Verdict::Rollback,
        (LocalOutcome::Unknown, false) => Verdict::Undecided,
    }
}

/// Whether a decision has done its work: no participant is prepared any more.
/// `still_prepared` must have been listed on *all* participants after the
/// decision became visible.
pub fn is_settled(xid: u64, still_prepared: &[Gid]) -> bool {
    !still_prepared.iter().any(|gid| gid.xid == xid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    fn record(outcome: LocalOutcome, has_decision: bool) -> CoordinatorRecord {
        CoordinatorRecord { outcome, has_decision }
    }

    #[test]
    fn a_live_transaction_is_left_to_its_backend() {
        for has_decision in [false, true] {
            for seen_before in [false, true] {
                let live = record(LocalOutcome::InProgress, has_decision);
                assert_eq!(decide(live, seen_before), Verdict::Wait);
            }
        }
    }

    #[test]
    fn a_participant_seen_for_the_first_time_is_left_to_the_second_phase() {
        assert_eq!(decide(record(LocalOutcome::Over, true), false), Verdict::Wait);
        assert_eq!(decide(record(LocalOutcome::Over, false), false), Verdict::Wait);
    }

    #[test]
    fn the_row_decides() {
        assert_eq!(decide(record(LocalOutcome::Over, true), true), Verdict::Commit);
        assert_eq!(decide(record(LocalOutcome::Over, false), true), Verdict::Rollback);
    }

    #[test]
    fn a_coordinator_that_never_had_the_transaction_decides_nothing() {
        assert_eq!(decide(record(LocalOutcome::Unknown, false), true), Verdict::Undecided);
        assert_eq!(decide(record(LocalOutcome::Unknown, true), true), Verdict::Commit);
    }

    #[test]
    fn a_decision_is_kept_while_any_participant_is_prepared() {
        let gid = |xid| Gid { coordinator: NodeId(1), xid, participant: 0 };
        assert!(!is_settled(5, &[gid(4), gid(5)]));
        assert!(is_settled(5, &[gid(4)]));
    }
}
