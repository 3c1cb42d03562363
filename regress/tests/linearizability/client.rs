//! One client: it draws operations, runs them and notes what came of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use regress::linearizability::{Counter, Operation, Register, Set};
use regress::random::Prng;
use regress::{Answer, Session, is_refusal};

use crate::tables::KEYS;
use crate::{NODES, Run};

/// Between attempts to connect to a server that is away.
const RETRY: Duration = Duration::from_millis(50);

/// Operations on the objects, each with its key.
#[derive(Default)]
pub struct History {
    pub registers: Vec<(u32, Operation<Register>)>,
    pub sets: Vec<(u32, Operation<Set>)>,
    pub counters: Vec<(u32, Operation<Counter>)>,
}

impl History {
    pub fn extend(&mut self, other: Self) {
        self.registers.extend(other.registers);
        self.sets.extend(other.sets);
        self.counters.extend(other.counters);
    }
}

/// What can be asked.
#[derive(Clone, Copy)]
enum Ask {
    Write(u64),
    Swap(u64, u64),
    ReadRegister,
    AddElement(u64),
    ReadSet,
    Count,
    ReadCounter,
}

/// What came of a statement.
enum Outcome {
    Answered(Answer),
    /// For certain it did nothing.
    Refused,
    Unknown,
}

pub struct Client<'a> {
    run: &'a Run,
    prng: Prng,
    session: Option<Session>,
    /// What it last saw in each register.
    seen: [u64; KEYS as usize],
    history: History,
}

impl<'a> Client<'a> {
    pub fn new(run: &'a Run, seed: u64) -> Self {
        let seen = [0; KEYS as usize];
        Self { run, prng: Prng::new(seed), session: None, seen, history: History::default() }
    }

    /// Works until the run is over.
    pub fn work(mut self) -> anyhow::Result<History> {
        while !self.run.is_over.load(Ordering::Relaxed) {
            let Some(session) = self.session.take().or_else(|| self.connect()) else {
                std::thread::sleep(RETRY);
                continue;
            };
            let (key, ask) = self.draw();
            let is_alone = matches!(ask, Ask::ReadRegister | Ask::ReadSet | Ask::ReadCounter)
                || !self.prng.one_in(3);
            let other = (!is_alone).then(|| self.prng.below(20));
            self.operate(&session, key, ask, other)?;
            // Sometimes another node takes over.
            let stays = !self.prng.one_in(20);
            let is_usable = session.run("ROLLBACK").is_ok();
            self.session = (stays && is_usable).then_some(session);
        }
        Ok(self.history)
    }

    /// Reads everything; what happened before must be there.
    pub fn read_all(mut self, session: &Session) -> anyhow::Result<History> {
        for key in 0..KEYS {
            for ask in [Ask::ReadRegister, Ask::ReadSet, Ask::ReadCounter] {
                session.run("SELECT 1")?;
                self.operate(session, key, ask, None)?;
            }
        }
        let History { registers, sets, counters } = &self.history;
        let read = registers.len() + sets.len() + counters.len();
        anyhow::ensure!(read == 3 * KEYS as usize, "only {read} objects can be read");
        Ok(self.history)
    }

    fn connect(&mut self) -> Option<Session> {
        let node = 1 + self.prng.below(usize::from(NODES)) as u16;
        let session = self.run.cluster.session(node).ok()?;
        let settings = "SET client_min_messages = error; SET statement_timeout = '8s'";
        session.run(settings).is_ok().then_some(session)
    }

    fn draw(&mut self) -> (u32, Ask) {
        let key = self.prng.below(KEYS as usize) as u32;
        let ask = match self.prng.below(12) {
            0 | 1 => Ask::Write(self.fresh()),
            2 | 3 => Ask::Swap(self.seen[key as usize], self.fresh()),
            4 | 5 => Ask::ReadRegister,
            6 => Ask::AddElement(self.fresh()),
            7 | 8 => Ask::ReadSet,
            9 | 10 => Ask::Count,
            _ => Ask::ReadCounter,
        };
        (key, ask)
    }

    /// A value that nobody else writes.
    fn fresh(&self) -> u64 {
        self.run.next_value.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs one operation, with `other` in a transaction that changes a row of
    /// another table, perhaps on another node.
    fn operate(
        &mut self,
        session: &Session,
        key: u32,
        ask: Ask,
        other: Option<usize>,
    ) -> anyhow::Result<()> {
        let sql = match other {
            None => statement(key, ask),
            Some(row) => format!(
                "BEGIN; {}; UPDATE other SET n = n + 1 WHERE id = {row}; COMMIT",
                statement(key, ask)
            ),
        };
        let begun = self.run.now();
        let outcome = match session.answer(&sql) {
            Ok(answer) => Outcome::Answered(answer),
            Err(error) => {
                *self.run.last_failure() = format!("{error:#}");
                if is_refusal(&error) { Outcome::Refused } else { Outcome::Unknown }
            }
        };
        let answered = match &outcome {
            Outcome::Answered(_) => Some(self.run.now()),
            Outcome::Refused => return Ok(()),
            Outcome::Unknown => None,
        };
        if answered.is_some() {
            self.run.answered.fetch_add(1, Ordering::Relaxed);
        }
        let answer = match outcome {
            Outcome::Answered(answer) => Some(answer),
            _ => None,
        };
        self.note(key, ask, answer.as_ref(), begun, answered).with_context(|| sql)
    }

    fn note(
        &mut self,
        key: u32,
        ask: Ask,
        answer: Option<&Answer>,
        begun: u64,
        answered: Option<u64>,
    ) -> anyhow::Result<()> {
        let register = match (ask, answer) {
            (Ask::Write(value), Some(answer)) => {
                anyhow::ensure!(answer.counts.contains(&1), "the register is gone: {answer:?}");
                Some(Register::Write(value))
            }
            (Ask::Write(value), None) => Some(Register::Write(value)),
            (Ask::Swap(from, to), None) => Some(Register::Swap(from, to)),
            (Ask::Swap(from, to), Some(answer)) => {
                (!answer.rows.is_empty()).then_some(Register::Swap(from, to))
            }
            (Ask::ReadRegister, Some(answer)) => Some(Register::Read(number(answer)? as u64)),
            _ => None,
        };
        if let Some(call) = register {
            if let (
                Register::Write(value) | Register::Read(value) | Register::Swap(_, value),
                Some(_),
            ) = (&call, answered)
            {
                self.seen[key as usize] = *value;
            }
            self.history.registers.push((key, Operation { call, begun, answered }));
        }
        let set = match (ask, answer) {
            (Ask::AddElement(value), _) => Some(Set::Add(value)),
            (Ask::ReadSet, Some(answer)) => Some(Set::Read(
                answer.rows.iter().map(|row| value(row)).collect::<anyhow::Result<_>>()?,
            )),
            _ => None,
        };
        if let Some(call) = set {
            self.history.sets.push((key, Operation { call, begun, answered }));
        }
        let counter = match (ask, answer) {
            (Ask::Count, None) => Some(Counter::Add(None)),
            (Ask::Count, Some(answer)) => Some(Counter::Add(Some(number(answer)?))),
            (Ask::ReadCounter, Some(answer)) => Some(Counter::Read(number(answer)?)),
            _ => None,
        };
        if let Some(call) = counter {
            self.history.counters.push((key, Operation { call, begun, answered }));
        }
        Ok(())
    }
}

fn statement(key: u32, ask: Ask) -> String {
    match ask {
        Ask::Write(value) => format!("UPDATE register SET v = {value} WHERE id = {key}"),
        Ask::Swap(from, to) => {
            format!("UPDATE register SET v = {to} WHERE id = {key} AND v = {from} RETURNING v")
        }
        Ask::ReadRegister => format!("SELECT v FROM register WHERE id = {key}"),
        Ask::AddElement(value) => format!("INSERT INTO element VALUES ({key}, {value})"),
        Ask::ReadSet => format!("SELECT v FROM element WHERE id = {key}"),
        Ask::Count => format!("UPDATE counter SET n = n + 1 WHERE id = {key} RETURNING n"),
        Ask::ReadCounter => format!("SELECT n FROM counter WHERE id = {key}"),
    }
}

fn value<T: std::str::FromStr>(row: &[Option<String>]) -> anyhow::Result<T> {
    let text = row.first().and_then(Option::as_ref).context("no value")?;
    text.parse().ok().with_context(|| format!("no number: {text}"))
}

fn number(answer: &Answer) -> anyhow::Result<i64> {
    value(answer.rows.first().context("no row")?)
}
