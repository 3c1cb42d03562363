//! The search for an order that explains a history.

use std::collections::HashSet;

use super::{Model, Operation, bounded};

/// Configurations to look at before giving up: far more than an order that
/// exists needs.
const MOST: usize = 100_000;

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<M: Model> {
    /// There is an order.
    Linearizable,
    /// There is none. What the object would hold at the latest place that was
    /// reached, and the operations of which none can be next.
    Violation(M::State, Vec<Operation<M>>),
    /// There were too many orders to try; the latest place as above.
    Undecided(M::State, Vec<Operation<M>>),
}

/// Looks for an order of one object's operations. An answer and a call at the
/// same tick may be in either order.
pub fn check<M: Model>(history: &[Operation<M>]) -> Verdict<M> {
    check_within(MOST, history)
}

/// The same with a bound on the configurations to look at.
pub fn check_within<M: Model>(most: usize, history: &[Operation<M>]) -> Verdict<M> {
    let history = bounded(history);
    Search::new(&history, most).run(M::initial())
}

/// The operation that is next: by its position among those with an answer, or
/// among those without.
#[derive(Clone, Copy)]
enum Choice {
    Answered(usize),
    Open(usize),
}

struct Step<S> {
    /// Before any of the choices.
    state: S,
    choices: std::vec::IntoIter<Choice>,
    /// How the search came here.
    made: Option<Choice>,
}

/// A configuration: which operations have happened, and what the object holds.
type Configuration<S> = (Vec<usize>, Vec<usize>, S);

struct Search<'a, M: Model> {
    /// By the time of their calls.
    answered: Vec<(&'a Operation<M>, u64)>,
    open: Vec<&'a Operation<M>>,
    is_done: Vec<bool>,
    is_taken: Vec<bool>,
    /// All before this one are done.
    low: usize,
    /// None from this one on is.
    high: usize,
    seen: HashSet<Configuration<M::State>>,
    most: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(history: &'a [Operation<M>], most: usize) -> Self {
        let mut answered: Vec<_> =
            history.iter().filter_map(|it| Some((it, it.answered?))).collect();
        let mut open: Vec<_> = history.iter().filter(|it| it.answered.is_none()).collect();
        answered.sort_by_key(|(it, end)| (it.begun, *end));
        open.sort_by_key(|it| it.begun);
        Self {
            is_done: vec![false; answered.len()],
            is_taken: vec![false; open.len()],
            answered,
            open,
            low: 0,
            high: 0,
            seen: HashSet::new(),
            most,
        }
    }

    fn run(&mut self, initial: M::State) -> Verdict<M> {
        let mut deepest = (0, initial.clone(), self.choices());
        let mut path = vec![self.step(initial, None)];
        loop {
            if self.low == self.answered.len() {
                return Verdict::Linearizable;
            }
            let depth = path.len();
            let Some(step) = path.last_mut() else {
                return Verdict::Violation(deepest.1, self.operations(deepest.2));
            };
            let Some(choice) = step.choices.next() else {
                let made = step.made;
                path.pop();
                if let Some(made) = made {
                    self.set(made, false);
                }
                continue;
            };
            let Some(state) = self.operation(choice).call.apply(&step.state) else { continue };
            self.set(choice, true);
            if !self.seen.insert(self.configuration(&state)) {
                self.set(choice, false);
                continue;
            }
            if self.seen.len() > self.most {
                return Verdict::Undecided(deepest.1, self.operations(deepest.2));
            }
            if depth > deepest.0 {
                deepest = (depth, state.clone(), self.choices());
            }
            path.push(self.step(state, Some(choice)));
        }
    }

    fn step(&self, state: M::State, made: Option<Choice>) -> Step<M::State> {
        Step { state, choices: self.choices().into_iter(), made }
    }

    fn operations(&self, choices: Vec<Choice>) -> Vec<Operation<M>> {
        choices.into_iter().map(|choice| self.operation(choice).clone()).collect()
    }

    fn operation(&self, choice: Choice) -> &'a Operation<M> {
        match choice {
            Choice::Answered(at) => self.answered[at].0,
            Choice::Open(at) => self.open[at],
        }
    }

    /// What may be next: all that were called before the first answer that is
    /// still to come. Those whose answers come first are tried first, those
    /// without an answer last. Of several without an answer that are the same
    /// call the earliest stands for all.
    fn choices(&self) -> Vec<Choice> {
        let mut first_answer = u64::MAX;
        let mut answered = Vec::new();
        for at in self.low..self.answered.len() {
            let (operation, end) = self.answered[at];
            if operation.begun > first_answer {
                break;
            }
            if !self.is_done[at] {
                first_answer = first_answer.min(end);
                answered.push((end, at));
            }
        }
        answered.retain(|(_, at)| self.answered[*at].0.begun <= first_answer);
        answered.sort_unstable();
        let mut choices: Vec<_> =
            answered.into_iter().map(|(_, at)| Choice::Answered(at)).collect();
        let mut offered: Vec<&M> = Vec::new();
        for (at, operation) in self.open.iter().enumerate() {
            if operation.begun > first_answer {
                break;
            }
            if !self.is_taken[at] && !offered.contains(&&operation.call) {
                offered.push(&operation.call);
                choices.push(Choice::Open(at));
            }
        }
        choices
    }

    fn set(&mut self, choice: Choice, has_happened: bool) {
        match choice {
            Choice::Open(at) => self.is_taken[at] = has_happened,
            Choice::Answered(at) => {
                self.is_done[at] = has_happened;
                if has_happened {
                    self.high = self.high.max(at + 1);
                    while self.is_done.get(self.low) == Some(&true) {
                        self.low += 1;
                    }
                } else {
                    self.low = self.low.min(at);
                    while self.high > 0 && !self.is_done[self.high - 1] {
                        self.high -= 1;
                    }
                }
            }
        }
    }

    fn configuration(&self, state: &M::State) -> Configuration<M::State> {
        let ahead = (self.low..self.high).filter(|at| self.is_done[*at]);
        let taken = (0..self.open.len()).filter(|at| self.is_taken[*at]);
        (std::iter::once(self.low).chain(ahead).collect(), taken.collect(), state.clone())
    }
}
