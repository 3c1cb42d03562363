//! What clients did with one object.

use std::collections::HashMap;

use super::Model;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<M> {
    /// What was asked and answered.
    pub call: M,
    /// When it was sent, by the clock of all clients.
    pub begun: u64,
    /// When its answer came; none if it never did, and it may have happened at
    /// any time since, or not at all.
    pub answered: Option<u64>,
}

/// The same history with less to try. An operation without an answer whose mark
/// nobody can have seen is left out, since nothing changes for the others if it
/// never happened; one whose mark somebody saw had happened by the time of that
/// answer. Only marks of one call each count.
pub fn bounded<M: Model>(history: &[Operation<M>]) -> Vec<Operation<M>> {
    let mut writers: HashMap<u64, usize> = HashMap::new();
    let marks = history.iter().filter_map(|it| it.call.mark());
    marks.for_each(|mark| *writers.entry(mark).or_default() += 1);
    let own_mark = |call: &M| call.mark().filter(|mark| writers[mark] == 1);

    let mut bounded = history.to_vec();
    loop {
        let before = bounded.clone();
        bounded.retain(|it| match own_mark(&it.call) {
            Some(mark) if it.answered.is_none() => {
                before.iter().any(|other| other != it && other.call.proves(mark))
            }
            _ => true,
        });
        for it in &mut bounded {
            if let (Some(mark), None) = (own_mark(&it.call), it.answered) {
                let proofs = before.iter().filter(|other| other.call.proves(mark));
                it.answered = proofs.filter_map(|other| other.answered).min();
            }
        }
        if bounded == before {
            return bounded;
        }
    }
}
