//! Good and bad histories.

use std::collections::HashMap;

use super::{Anomaly, Level, Op, Outcome, Transaction, anomalies, violations};

fn a(key: u32, value: u64) -> Op {
    Op::Append { key, value }
}

fn r(key: u32, list: &[u64]) -> Op {
    Op::Read { key, list: list.to_vec() }
}

/// All at the same time.
fn t(ops: &[Op]) -> Transaction {
    Transaction { ops: ops.to_vec(), outcome: Outcome::Committed, time: (0, 100) }
}

fn ended(ops: &[Op], outcome: Outcome) -> Transaction {
    Transaction { outcome, ..t(ops) }
}

fn found(history: &[Transaction], last: &[(u32, &[u64])]) -> Vec<Anomaly> {
    let last: HashMap<_, _> = last.iter().map(|(key, list)| (*key, list.to_vec())).collect();
    anomalies(history, &last)
}

#[test]
fn a_serial_history_is_good() {
    let history = [
        t(&[a(1, 1), a(2, 2)]),
        t(&[r(1, &[1]), a(1, 3), r(1, &[1, 3]), r(2, &[2])]),
        ended(&[a(1, 4), r(1, &[1, 3, 4])], Outcome::Aborted),
        ended(&[a(1, 5), a(2, 6)], Outcome::Unknown),
        t(&[r(1, &[1, 3]), r(2, &[2])]),
    ];
    assert_eq!(found(&history, &[(1, &[1, 3]), (2, &[2])]), []);
    // The one without an answer may as well have been committed.
    assert_eq!(found(&history, &[(1, &[1, 3, 5]), (2, &[2, 6])]), []);
}

#[test]
fn write_skew_is_allowed_at_snapshot_isolation() {
    let history = [t(&[r(1, &[]), a(2, 2)]), t(&[r(2, &[]), a(1, 1)])];
    assert_eq!(found(&history, &[(1, &[1]), (2, &[2])]), []);
}

#[test]
fn what_nobody_wrote_and_what_is_there_twice_is_garbage() {
    let garbage = |value| Anomaly::Garbage { reader: 1, value };
    let history = [t(&[a(1, 1)]), t(&[r(1, &[1, 9])])];
    assert!(found(&history, &[(1, &[1])]).contains(&garbage(9)));
    let history = [t(&[a(1, 1)]), t(&[r(1, &[1, 1])])];
    assert!(found(&history, &[(1, &[1])]).contains(&garbage(1)));
}

#[test]
fn own_appends_must_be_seen() {
    let history = [t(&[a(1, 1), r(1, &[])])];
    let internal = Anomaly::Internal { reader: 0, key: 1 };
    assert!(found(&history, &[(1, &[1])]).contains(&internal));
}

#[test]
fn readers_must_agree_on_the_order() {
    let history = [t(&[a(1, 1)]), t(&[a(1, 2)]), t(&[r(1, &[1, 2])]), t(&[r(1, &[2, 1])])];
    let different = Anomaly::IncompatibleOrder { key: 1 };
    assert!(found(&history, &[(1, &[1, 2])]).contains(&different));
}

#[test]
fn an_aborted_append_must_not_be_read() {
    let history = [ended(&[a(1, 1)], Outcome::Aborted), t(&[r(1, &[1])])];
    assert!(found(&history, &[(1, &[])]).contains(&Anomaly::G1a { writer: 0, reader: 1 }));
}

#[test]
fn a_state_in_between_must_not_be_read() {
    let history = [t(&[a(1, 1), a(1, 2)]), t(&[r(1, &[1])])];
    let between = Anomaly::G1b { writer: 0, reader: 1 };
    assert!(found(&history, &[(1, &[1, 2])]).contains(&between));
}

#[test]
fn what_is_committed_is_there_and_what_is_unknown_is_there_whole_or_not() {
    let lost = Anomaly::LostAppend { writer: 0, value: 2 };
    let ops = [a(1, 1), a(2, 2)];
    assert_eq!(found(&[t(&ops)], &[(1, &[1]), (2, &[])]), std::slice::from_ref(&lost));
    let unknown = ended(&ops, Outcome::Unknown);
    assert_eq!(found(std::slice::from_ref(&unknown), &[(1, &[1]), (2, &[])]), [lost]);
    assert_eq!(found(&[unknown], &[(1, &[]), (2, &[])]), []);
}

#[test]
fn g0_writes_interleave() {
    let history = [t(&[a(1, 1), a(2, 2)]), t(&[a(1, 3), a(2, 4)])];
    let found = found(&history, &[(1, &[1, 3]), (2, &[4, 2])]);
    assert!(matches!(found[..], [Anomaly::G0(_)]), "{found:?}");
    assert_eq!(violations(found, Level::ReadCommitted).len(), 1);
}

#[test]
fn g1c_two_read_from_each_other() {
    let history = [t(&[a(1, 1), r(2, &[2])]), t(&[a(2, 2), r(1, &[1])])];
    let found = found(&history, &[(1, &[1]), (2, &[2])]);
    assert!(matches!(found[..], [Anomaly::G1c(_)]), "{found:?}");
    assert_eq!(violations(found, Level::ReadCommitted).len(), 1);
}

#[test]
fn g_single_half_a_transaction_is_read() {
    let history = [t(&[a(1, 1), a(2, 2)]), t(&[r(1, &[1]), r(2, &[])])];
    let found = found(&history, &[(1, &[1]), (2, &[2])]);
    assert!(matches!(found[..], [Anomaly::GSingle(_)]), "{found:?}");
    assert_eq!(violations(found.clone(), Level::ReadCommitted), []);
    assert_eq!(violations(found, Level::Snapshot).len(), 1);
}

#[test]
fn lost_update_two_append_to_the_same_state() {
    let history = [t(&[r(1, &[]), a(1, 1)]), t(&[r(1, &[]), a(1, 2)])];
    let found = found(&history, &[(1, &[1, 2])]);
    let lost = Anomaly::LostUpdate { key: 1, writers: (0, 1) };
    assert!(found.contains(&lost), "{found:?}");
    assert_eq!(violations(found.clone(), Level::ReadCommitted), []);
    assert!(violations(found, Level::Snapshot).contains(&lost));
}

#[test]
fn long_fork_two_readers_see_two_writers_in_different_orders() {
    let history =
        [t(&[a(1, 1)]), t(&[a(2, 2)]), t(&[r(1, &[1]), r(2, &[])]), t(&[r(1, &[]), r(2, &[2])])];
    let found = found(&history, &[(1, &[1]), (2, &[2])]);
    assert!(matches!(found[..], [Anomaly::LongFork(_)]), "{found:?}");
    assert_eq!(violations(found.clone(), Level::ReadCommitted), []);
    assert_eq!(violations(found, Level::Snapshot).len(), 1);
}

#[test]
fn a_read_after_the_answer_to_commit_must_see_it() {
    let mut reader = t(&[r(1, &[])]);
    let writer = t(&[a(1, 1)]);
    assert_eq!(found(&[writer.clone(), reader.clone()], &[(1, &[1])]), []);
    reader.time = (101, 102);
    let found = found(&[writer, reader], &[(1, &[1])]);
    assert_eq!(found, [Anomaly::Stale { writer: 0, reader: 1 }]);
}
