//! What becomes of a participant that is found prepared.
//!
//! The rule is presumed abort: the coordinator writes a decision row into its
//! own transaction before the first PREPARE is sent, so the row is there
//! exactly if that transaction committed. Whoever finds a prepared participant
//! asks the coordinator, in this order: list the prepared ones, *then* look at
//! the coordinator's transaction and its row.
//!
//! If the coordinator cannot be asked, the participants ask each other
//! (`termination`).

use super::{Life, TransactionName};

/// What became of the coordinator's own transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalOutcome {
    /// A live backend still works on it: it will finish its participants.
    InProgress,
    /// It is over, or so old that nobody remembers.
    Over,
    /// The coordinator never had this transaction: its data directory is a copy
    /// that is older.
    Unknown,
}

/// What the coordinator says of itself when it looks at a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoordinatorState {
    /// Its present life.
    pub life: Life,
    /// Whether its data directory remembers the transaction's life.
    pub remembers_life: bool,
    /// The next transaction id that it will give.
    pub next_xid: u64,
    /// Whether the transaction id runs now.
    pub is_running: bool,
}

/// What became of the coordinator's own transaction. One of a former life is
/// over whatever its id stands for now: the id may have been given again.
pub fn local_outcome(transaction: TransactionName, state: CoordinatorState) -> LocalOutcome {
    if transaction.life != state.life {
        return if state.remembers_life { LocalOutcome::Over } else { LocalOutcome::Unknown };
    }
    if transaction.xid >= state.next_xid {
        LocalOutcome::Unknown
    } else if state.is_running {
        LocalOutcome::InProgress
    } else {
        LocalOutcome::Over
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    const NOW: Life = Life(20);

    fn record(outcome: LocalOutcome, has_decision: bool) -> CoordinatorRecord {
        CoordinatorRecord { outcome, has_decision }
    }

    fn transaction(life: Life, xid: u64) -> TransactionName {
        TransactionName { coordinator: NodeId(1), life, xid }
    }

    fn state(is_running: bool) -> CoordinatorState {
        CoordinatorState { life: NOW, remembers_life: true, next_xid: 100, is_running }
    }

    #[test]
    fn a_live_transaction_is_left_to_its_backend() {
        assert_eq!(local_outcome(transaction(NOW, 99), state(true)), LocalOutcome::InProgress);
        for has_decision in [false, true] {
            for seen_before in [false, true] {
                let live = record(LocalOutcome::InProgress, has_decision);
                assert_eq!(decide(live, seen_before), Verdict::Wait);
            }
        }
    }

    #[test]
    fn a_transaction_of_a_former_life_is_over_though_its_id_runs_again_or_comes_again() {
        let former = |xid| transaction(Life(19), xid);
        assert_eq!(local_outcome(former(99), state(true)), LocalOutcome::Over);
        // It never reached the disk, and nobody has had it since.
        assert_eq!(local_outcome(former(100), state(false)), LocalOutcome::Over);
    }

    #[test]
    fn a_life_that_the_data_directory_does_not_remember_decides_nothing() {
        let copy = CoordinatorState { remembers_life: false, ..state(false) };
        let outcome = local_outcome(transaction(Life(19), 5), copy);
        assert_eq!(outcome, LocalOutcome::Unknown);
        assert_eq!(decide(record(outcome, false), true), Verdict::Undecided);
        assert_eq!(decide(record(outcome, true), true), Verdict::Commit);
    }

    #[test]
    fn an_id_that_this_life_has_not_given_decides_nothing() {
        assert_eq!(local_outcome(transaction(NOW, 100), state(false)), LocalOutcome::Unknown);
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
}
