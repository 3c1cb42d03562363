//! Every crash at every point of a commit, in every order of what follows, by
//! going through all states of a small model that decides with the real rules.

use std::collections::HashSet;

use super::{Answer, CoordinatorRecord, LocalOutcome, Verdict, decide, decide_without_coordinator};

const PARTS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Working,
    Prepared,
    Committed,
    RolledBack,
}

/// What the coordinator's backend does, in this order.
#[derive(Clone, Copy)]
enum Step {
    Prepare(usize),
    Decide,
    Commit(usize),
}

const STEPS: [Step; 5] =
    [Step::Prepare(0), Step::Prepare(1), Step::Decide, Step::Commit(0), Step::Commit(1)];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// Steps done.
    done: usize,
    /// The backend lives and has not given up.
    is_running: bool,
    /// The decision row is on disk.
    has_decision: bool,
    parts: [Part; PARTS],
    promises: [bool; PARTS],
}

impl World {
    fn begin() -> Self {
        World {
            done: 0,
            is_running: true,
            has_decision: false,
            parts: [Part::Working; PARTS],
            promises: [false; PARTS],
        }
    }

    /// Everything that can happen next. `promises_bind` is false where a late
    /// PREPARE is let through, to see that the model can fail.
    fn next(&self, promises_bind: bool) -> Vec<World> {
        let mut worlds = Vec::new();
        let mut add = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            worlds.push(world);
        };
        if self.is_running {
            if self.done < STEPS.len() {
                add(&|world| world.step(promises_bind));
            }
            // Killed, or cancelled before it decided.
            add(&|world| world.is_running = false);
        }
        for part in 0..PARTS {
            match self.parts[part] {
                Part::Working if !self.is_running => {
                    // Its session ends; or a PREPARE that was on its way comes first.
                    add(&|world| world.parts[part] = Part::RolledBack);
                    if self.done <= part {
                        add(&|world| world.prepare(part, promises_bind));
                    }
                }
                Part::Prepared => {
                    add(&|world| world.ask_coordinator(part));
                    // Also while the coordinator only seems to be lost.
                    add(&|world| world.ask_others(part));
                }
                _ => {}
            }
        }
        worlds
    }

    fn step(&mut self, promises_bind: bool) {
        match STEPS[self.done] {
            Step::Prepare(part) => self.prepare(part, promises_bind),
            Step::Decide => self.has_decision = true,
            // An error means that recovery was faster.
            Step::Commit(part) if self.parts[part] == Part::Prepared => {
                self.parts[part] = Part::Committed;
            }
            Step::Commit(_) => {}
        }
        self.done += 1;
    }

    /// Fails, and with it the transaction, after a promise.
    fn prepare(&mut self, part: usize, promises_bind: bool) {
        if self.promises[part] && promises_bind {
            self.parts[part] = Part::RolledBack;
            self.is_running = false;
        } else {
            self.parts[part] = Part::Prepared;
        }
    }

    fn ask_coordinator(&mut self, part: usize) {
        let outcome = if self.is_running { LocalOutcome::InProgress } else { LocalOutcome::Over };
        let record = CoordinatorRecord { outcome, has_decision: self.has_decision };
        self.carry_out(part, decide(record, true));
    }

    fn ask_others(&mut self, part: usize) {
        let mut answers = Vec::new();
        for other in (0..PARTS).filter(|other| *other != part) {
            answers.push(match self.parts[other] {
                Part::Committed => Answer::Committed,
                Part::Prepared => Answer::Prepared,
                Part::Working | Part::RolledBack => {
                    self.promises[other] = true;
                    Answer::Aborted
                }
            });
        }
        self.carry_out(part, decide_without_coordinator(&answers));
    }

    fn carry_out(&mut self, part: usize, verdict: Verdict) {
        match verdict {
            Verdict::Commit => self.parts[part] = Part::Committed,
            Verdict::Rollback => self.parts[part] = Part::RolledBack,
            Verdict::Wait | Verdict::Undecided => {}
        }
    }

    fn is_torn(&self) -> bool {
        let has = |state| self.parts.contains(&state);
        (has(Part::Committed) && has(Part::RolledBack))
            || (self.has_decision && has(Part::RolledBack))
            || (!self.has_decision && has(Part::Committed))
    }

    fn is_over(&self) -> bool {
        !self.is_running
            && self.parts.iter().all(|part| matches!(part, Part::Committed | Part::RolledBack))
    }
}

/// All states that can be reached.
fn all_worlds(promises_bind: bool) -> HashSet<World> {
    let mut seen = HashSet::from([World::begin()]);
    let mut open = vec![World::begin()];
    while let Some(world) = open.pop() {
        for next in world.next(promises_bind) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    seen
}

#[test]
fn no_crash_at_any_point_tears_a_transaction() {
    let worlds = all_worlds(true);
    assert!(worlds.len() > 30, "the model does hardly anything: {}", worlds.len());
    for world in &worlds {
        assert!(!world.is_torn(), "{world:?}");
    }
}

#[test]
fn from_every_state_the_end_is_reached() {
    let worlds = all_worlds(true);
    let mut ending: HashSet<&World> = worlds.iter().filter(|world| world.is_over()).collect();
    loop {
        let before = ending.len();
        for world in &worlds {
            if world.next(true).iter().any(|next| ending.contains(next)) {
                ending.insert(world);
            }
        }
        if ending.len() == before {
            break;
        }
    }
    for world in &worlds {
        assert!(ending.contains(world), "stuck: {world:?}");
    }
}

#[test]
fn without_binding_promises_a_late_prepare_would_tear_it() {
    assert!(all_worlds(false).iter().any(World::is_torn));
}
