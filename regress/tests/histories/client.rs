//! One client: it draws transactions, runs them and notes what it saw.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use regress::history::{Level, Op, Outcome, Transaction};
use regress::{Session, is_refusal};

use crate::random::Random;
use crate::{NODES, Run};

/// Few, so that transactions meet.
pub const KEYS: u32 = 10;
pub const ACCOUNTS: i64 = 20;
pub const BALANCE: i64 = 1000;
const LONGEST: u64 = 4;
/// Between attempts to connect to a server that is being restarted.
const RETRY: Duration = Duration::from_millis(50);

pub struct Client<'a> {
    run: &'a Run,
    random: Random,
    session: Option<Session>,
}

/// How a transaction goes wrong.
enum Trouble {
    /// Before COMMIT was sent.
    Before,
    /// In the answer to COMMIT.
    AtCommit(anyhow::Error),
}

impl<'a> Client<'a> {
    pub fn new(run: &'a Run, seed: u64) -> Self {
        Self { run, random: Random::new(seed), session: None }
    }

    /// Works until the run is over.
    pub fn work(mut self) -> anyhow::Result<Vec<Transaction>> {
        let mut history = Vec::new();
        while !self.run.is_over.load(Ordering::Relaxed) {
            let Some(session) = self.session.take().or_else(|| self.connect()) else {
                std::thread::sleep(RETRY);
                continue;
            };
            // Sometimes another node takes over.
            let stays = self.random.below(20) != 0;
            if self.random.below(3) == 0 {
                self.transfer(&session);
            } else {
                history.push(self.append_and_read(&session)?);
            }
            let is_usable = session.run("ROLLBACK").is_ok();
            self.session = (stays && is_usable).then_some(session);
        }
        Ok(history)
    }

    fn connect(&mut self) -> Option<Session> {
        let node = 1 + self.random.below(u64::from(NODES)) as u16;
        let session = self.run.cluster.session(node).ok()?;
        let settings = "SET client_min_messages = error; SET statement_timeout = '8s'";
        session.run(settings).is_ok().then_some(session)
    }

    fn begin(&self) -> &'static str {
        match self.run.level {
            Level::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Level::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        }
    }

    /// Money moves; the sum of all accounts is looked at in the end.
    fn transfer(&mut self, session: &Session) {
        let account = |random: &mut Random| random.below(ACCOUNTS as u64);
        let (from, to) = (account(&mut self.random), account(&mut self.random));
        let done = session.run(&format!(
            "{}; UPDATE account SET balance = balance - 3 WHERE id = {from};
             UPDATE account SET balance = balance + 3 WHERE id = {to}; COMMIT",
            self.begin()
        ));
        if done.is_ok() {
            self.run.committed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn append_and_read(&mut self, session: &Session) -> anyhow::Result<Transaction> {
        let mut ops = self.draw();
        let begun = self.now();
        let done = self.attempt(session, &mut ops);
        let outcome = match done {
            Ok(()) => Outcome::Committed,
            Err(Trouble::Before) => Outcome::Aborted,
            Err(Trouble::AtCommit(error)) if is_refusal(&error) => Outcome::Aborted,
            Err(Trouble::AtCommit(_)) => Outcome::Unknown,
        };
        if outcome == Outcome::Committed {
            self.run.committed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Transaction { ops, outcome, time: (begun, self.now()) })
    }

    fn now(&self) -> u64 {
        self.run.start.elapsed().as_micros() as u64
    }

    fn draw(&mut self) -> Vec<Op> {
        let count = 1 + self.random.below(LONGEST);
        let mut keys: Vec<u32> =
            (0..count).map(|_| self.random.below(u64::from(KEYS)) as u32).collect();
        if self.random.below(2) == 0 {
            keys.sort_unstable();
        }
        let op = |key| match self.random.below(2) {
            0 => Op::Read { key, list: Vec::new() },
            _ => Op::Append { key, value: self.run.next_value.fetch_add(1, Ordering::Relaxed) },
        };
        keys.into_iter().map(op).collect()
    }

    /// Runs the steps and fills in what was read. A single step is sent without
    /// BEGIN: its COMMIT travels with it.
    fn attempt(&self, session: &Session, ops: &mut [Op]) -> Result<(), Trouble> {
        if let [op] = ops {
            return step(session, op).map_err(Trouble::AtCommit);
        }
        session.run(self.begin()).map_err(|_| Trouble::Before)?;
        for op in ops {
            step(session, op).map_err(|_| Trouble::Before)?;
        }
        session.run("COMMIT").map_err(Trouble::AtCommit)
    }
}

fn step(session: &Session, op: &mut Op) -> anyhow::Result<()> {
    match op {
        Op::Append { key, value } => {
            session.run(&format!("UPDATE list SET v = v || {value}::bigint WHERE id = {key}"))
        }
        Op::Read { key, list } => {
            *list = read_list(session, *key)?;
            Ok(())
        }
    }
}

/// What is in a list.
pub fn read_list(session: &Session, key: u32) -> anyhow::Result<Vec<u64>> {
    let text = session.value(&format!("SELECT v FROM list WHERE id = {key}"))?;
    let inner = text.trim_matches(['{', '}']);
    let values = inner.split(',').filter(|value| !value.is_empty());
    values.map(|value| value.parse().with_context(|| format!("no number: {value}"))).collect()
}
