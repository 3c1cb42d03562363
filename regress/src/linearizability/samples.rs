//! Histories that are in order and histories that are not.

use std::collections::BTreeSet;

use super::brute_force::has_order;
use super::search::check_within;
use super::{Counter, Model, Operation, Register, Set, Verdict, check};
use crate::random::Prng;
use Register::{Read, Swap, Write};

fn answered<M>(call: M, begun: u64, end: u64) -> Operation<M> {
    Operation { call, begun, answered: Some(end) }
}

fn open<M>(call: M, begun: u64) -> Operation<M> {
    Operation { call, begun, answered: None }
}

fn is_linearizable<M: Model>(history: &[Operation<M>]) -> bool {
    let verdict = check(history);
    assert!(!matches!(verdict, Verdict::Undecided(..)), "{verdict:?}");
    verdict == Verdict::Linearizable
}

fn elements(all: &[u64]) -> Set {
    Set::Read(all.iter().copied().collect::<BTreeSet<_>>())
}

#[test]
fn operations_at_the_same_time_may_be_in_any_order() {
    let write = answered(Write(1), 0, 10);
    assert!(is_linearizable(&[write.clone(), answered(Read(0), 1, 2), answered(Read(1), 3, 4)]));
    assert!(is_linearizable(&[write.clone(), answered(Read(1), 1, 2), answered(Read(1), 3, 4)]));
    // Once somebody has seen it, nobody sees what was before.
    assert!(!is_linearizable(&[write, answered(Read(1), 1, 2), answered(Read(0), 3, 4)]));
}

#[test]
fn a_stale_read_is_found() {
    let history = [answered(Write(1), 0, 1), answered(Read(0), 2, 3)];
    assert_eq!(check(&history), Verdict::Violation(1, vec![history[1].clone()]));
    // An answer and a call at the same tick may be in either order.
    assert!(is_linearizable(&[answered(Write(1), 0, 1), answered(Read(0), 1, 3)]));
}

#[test]
fn a_lost_write_is_found() {
    let before = [answered(Write(1), 0, 1), answered(Write(2), 2, 3)];
    assert!(is_linearizable(&[&before[..], &[answered(Read(2), 4, 5)]].concat()));
    assert!(!is_linearizable(&[&before[..], &[answered(Read(1), 4, 5)]].concat()));
}

#[test]
fn a_trace_of_a_refused_write_is_found() {
    // Write(1) was rolled back for certain, so it is not in the history.
    assert!(!is_linearizable(&[answered(Read(1), 0, 1)]));
    assert!(!is_linearizable(&[answered(elements(&[1]), 0, 1)]));
    assert!(!is_linearizable(&[answered(Counter::Read(1), 0, 1)]));
}

#[test]
fn a_write_without_an_answer_may_have_happened_at_any_time_or_never() {
    let write = open(Write(1), 5);
    assert!(is_linearizable(&[write.clone(), answered(Read(0), 6, 7)]));
    assert!(is_linearizable(&[write.clone(), answered(Read(0), 6, 7), answered(Read(1), 8, 9)]));
    assert!(!is_linearizable(&[write.clone(), answered(Read(1), 6, 7), answered(Read(0), 8, 9)]));
    // Not before its call.
    assert!(!is_linearizable(&[answered(Read(1), 0, 1), write.clone()]));
    // Not twice.
    let twice =
        [write, answered(Read(1), 6, 7), answered(Write(2), 8, 9), answered(Read(1), 10, 11)];
    assert!(!is_linearizable(&twice));
}

#[test]
fn what_a_swap_found_must_have_been_written() {
    // Both found 0: an update is lost.
    assert!(!is_linearizable(&[answered(Swap(0, 1), 0, 9), answered(Swap(0, 2), 0, 9)]));
    assert!(is_linearizable(&[answered(Swap(0, 1), 0, 9), open(Swap(0, 2), 0)]));
    // A chain of swaps without answers, of which the last was seen.
    let chain = [open(Swap(0, 1), 0), open(Swap(1, 2), 1), answered(Read(2), 3, 4)];
    assert!(is_linearizable(&chain));
    assert!(!is_linearizable(&[&chain[..], &[answered(Read(0), 5, 6)]].concat()));
    assert!(!is_linearizable(&chain[1..]));
}

#[test]
fn an_element_that_was_added_stays_and_is_seen_by_all() {
    let add = |element, at| answered(Set::Add(element), at, at + 1);
    assert!(is_linearizable(&[add(1, 0), add(2, 2), answered(elements(&[1, 2]), 4, 5)]));
    assert!(!is_linearizable(&[add(1, 0), add(2, 2), answered(elements(&[2]), 4, 5)]));
    // Two readers see two additions in different order.
    let both = [answered(Set::Add(1), 0, 9), answered(Set::Add(2), 0, 9)];
    let reads = [answered(elements(&[1]), 1, 2), answered(elements(&[2]), 3, 4)];
    assert!(!is_linearizable(&[both, reads].concat()));
    // Without an answer: once seen, always seen.
    let unknown = [open(Set::Add(1), 0), answered(elements(&[1]), 1, 2)];
    assert!(is_linearizable(&unknown));
    assert!(!is_linearizable(&[&unknown[..], &[answered(elements(&[]), 3, 4)]].concat()));
}

#[test]
fn a_counter_counts_every_call_once() {
    let add = |sum, at| answered(Counter::Add(Some(sum)), at, at + 1);
    let read = |sum, at| answered(Counter::Read(sum), at, at + 1);
    assert!(is_linearizable(&[add(1, 0), add(2, 2), read(2, 4)]));
    assert!(!is_linearizable(&[add(1, 0), add(1, 2)]), "a lost update");
    assert!(!is_linearizable(&[add(1, 0), add(3, 2)]), "a call that counted twice");
    assert!(!is_linearizable(&[add(1, 0), read(0, 2)]), "a stale read");
    let unknown = open(Counter::Add(None), 0);
    assert!(is_linearizable(&[unknown.clone(), read(0, 1), read(1, 3)]));
    assert!(!is_linearizable(&[unknown.clone(), read(1, 1), read(0, 3)]));
    assert!(!is_linearizable(&[unknown, read(2, 1)]));
}

#[test]
fn many_calls_without_an_answer_are_decided() {
    let mut counter: Vec<_> = (0..40).map(|at| open(Counter::Add(None), at)).collect();
    counter.push(answered(Counter::Read(17), 50, 51));
    counter.push(answered(Counter::Read(40), 52, 53));
    assert!(is_linearizable(&counter));
    counter.push(answered(Counter::Read(39), 54, 55));
    assert!(!is_linearizable(&counter));
    let mut register: Vec<_> = (1..=40).map(|value| open(Write(value), value)).collect();
    register.extend((1..=40).map(|value| answered(Read(value), 100 + 2 * value, 101 + 2 * value)));
    assert!(is_linearizable(&register));
    // One that is not in order may take long, but is never passed.
    register.push(answered(Read(7), 300, 301));
    assert_ne!(check_within(1000, &register), Verdict::Linearizable);
}

#[test]
fn a_search_without_end_is_given_up() {
    // Values that are written twice: nothing says who wrote what was read.
    let mut history = Vec::new();
    for value in 1..=40 {
        history.extend([open(Write(value), 0), open(Write(value), 0)]);
    }
    history.extend((1..=9).map(|at| answered(Read(50), 100 + at, 100 + at)));
    assert!(matches!(check_within(1000, &history), Verdict::Undecided(..)));
}

/// A history of a few clients, most of them answered by an object that works,
/// some by chance.
fn draw<M: Model>(
    prng: &mut Prng,
    mut call: impl FnMut(&mut Prng, &M::State) -> M,
) -> Vec<Operation<M>> {
    let mut state = M::initial();
    let mut history = Vec::new();
    for at in 0..2 + prng.below(6) as u64 {
        let call = call(prng, &state);
        let instant = 3 * at + 10;
        let begun = instant - prng.below(9) as u64;
        let end = (!prng.one_in(4)).then(|| instant + prng.below(9) as u64);
        let has_happened = end.is_some() || prng.one_in(2);
        if let Some(after) = call.apply(&state).filter(|_| has_happened) {
            state = after;
        }
        history.push(Operation { call, begun, answered: end });
    }
    history
}

/// Judges many histories twice; how many were in order and how many were not.
fn compare<M: Model>(seed: u64, mut call: impl FnMut(&mut Prng, &M::State) -> M) -> [usize; 2] {
    let mut prng = Prng::new(seed);
    let mut counts = [0; 2];
    for _ in 0..2000 {
        let history = draw(&mut prng, &mut call);
        let is_good = has_order(&history);
        assert_eq!(is_linearizable(&history), is_good, "{history:#?}");
        counts[usize::from(is_good)] += 1;
    }
    counts
}

/// Now and then what comes is not what an object that works would give.
fn perhaps(prng: &mut Prng, right: u64, below: usize) -> u64 {
    if prng.one_in(6) { prng.below(below) as u64 } else { right }
}

#[test]
fn small_histories_are_judged_as_by_trying_all_orders() {
    for is_unique in [false, true] {
        let mut next = 0;
        let mut fresh = move |prng: &mut Prng| {
            next += 1;
            if is_unique { next } else { 1 + prng.below(3) as u64 }
        };
        let mut fresh_element = fresh;
        let register = compare(1, |prng, state| match prng.below(5) {
            0 | 1 => Read(perhaps(prng, *state, 3)),
            2 => Swap(perhaps(prng, *state, 3), fresh(prng)),
            _ => Write(fresh(prng)),
        });
        let set = compare(2, |prng, state: &BTreeSet<u64>| match prng.below(2) {
            0 => Set::Add(fresh_element(prng)),
            _ => Set::Read(state.iter().copied().filter(|_| !prng.one_in(9)).collect()),
        });
        let counter = compare(3, |prng, state| {
            let right = *state as u64;
            match prng.below(3) {
                0 => Counter::Read(perhaps(prng, right, 3) as i64),
                1 => Counter::Add(None),
                _ => Counter::Add(Some(perhaps(prng, right + 1, 3) as i64)),
            }
        });
        for counts in [register, set, counter] {
            assert!(counts.iter().all(|count| *count > 50), "one-sided: {counts:?}");
        }
    }
}
