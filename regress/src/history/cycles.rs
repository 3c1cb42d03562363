//! Cycles among dependencies.

use std::collections::{HashMap, VecDeque};

use super::Anomaly;
use super::dependencies::{Dependencies, Kind};

/// One cycle of each sort, the shortest through its first edge.
pub fn find(dependencies: &Dependencies) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let writes = |kind| kind == Kind::Write;
    found.extend(through(dependencies, Kind::Write, writes).map(Anomaly::G0));
    found.extend(through(dependencies, Kind::Read, |kind| kind != Kind::Anti).map(Anomaly::G1c));
    found
        .extend(through(dependencies, Kind::Anti, |kind| kind != Kind::Anti).map(Anomaly::GSingle));
    found.extend(long_fork(dependencies).map(Anomaly::LongFork));
    found
}

/// A cycle of one edge of kind `first` and others that are `allowed`.
fn through(
    dependencies: &Dependencies,
    first: Kind,
    allowed: impl Fn(Kind) -> bool + Copy,
) -> Option<Vec<usize>> {
    edges(dependencies, first).find_map(|(from, to)| {
        path(dependencies, to, from, |_, kind| allowed(kind)).map(|(path, _)| path)
    })
}

/// A cycle with several anti-dependencies, no two of them in a row.
fn long_fork(dependencies: &Dependencies) -> Option<Vec<usize>> {
    edges(dependencies, Kind::Anti).find_map(|(from, to)| {
        let may_follow = |last, next| last != Kind::Anti || next != Kind::Anti;
        let (path, antis) = path(dependencies, to, from, may_follow)?;
        (antis > 0).then_some(path)
    })
}

fn edges(dependencies: &Dependencies, kind: Kind) -> impl Iterator<Item = (usize, usize)> {
    (0..dependencies.count()).flat_map(move |from| {
        dependencies.after(from).filter(move |(_, it)| *it == kind).map(move |(to, _)| (from, to))
    })
}

/// The shortest path, begun after an anti-dependency and not ended by one, and
/// the number of anti-dependencies on it.
fn path(
    dependencies: &Dependencies,
    start: usize,
    goal: usize,
    may_follow: impl Fn(Kind, Kind) -> bool,
) -> Option<(Vec<usize>, usize)> {
    let mut came_from = HashMap::from([((start, true), None)]);
    let mut queue = VecDeque::from([(start, true)]);
    while let Some((node, after_anti)) = queue.pop_front() {
        if node == goal && !after_anti {
            return Some(trace(&came_from, (node, after_anti)));
        }
        let last = if after_anti { Kind::Anti } else { Kind::Write };
        for (next, kind) in dependencies.after(node) {
            let state = (next, kind == Kind::Anti);
            if may_follow(last, kind) && !came_from.contains_key(&state) {
                came_from.insert(state, Some((node, after_anti)));
                queue.push_back(state);
            }
        }
    }
    None
}

type State = (usize, bool);

fn trace(came_from: &HashMap<State, Option<State>>, end: State) -> (Vec<usize>, usize) {
    let (mut path, mut antis, mut at) = (Vec::new(), 0, Some(end));
    while let Some(state) = at {
        path.push(state.0);
        at = came_from[&state];
        antis += usize::from(state.1 && at.is_some());
    }
    path.reverse();
    (path, antis)
}
