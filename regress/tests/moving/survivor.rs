//! Clients that go on while servers are killed. A transaction whose answer was lost
//! has happened or has not, as a whole: what is not known is not guessed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use regress::{Session, TestCluster, db_error};

use crate::client::RETRYABLE;

/// What belongs to one id: the order's value, and with it the lines'; none if there
/// is no order.
type State = Option<String>;

/// A client with its own ids.
struct Survivor<'a> {
    cluster: &'a TestCluster,
    number: i64,
    session: Option<Session>,
    /// What each id may be. More than one: an answer was lost, and the id is left
    /// alone from then on.
    ids: BTreeMap<i64, Vec<State>>,
}

/// How a transaction ended.
enum Ending {
    Committed,
    /// To be run again.
    RolledBack,
    Unknown,
}

impl<'a> Survivor<'a> {
    /// One transaction about one id, and a look at another one.
    fn step(&mut self, step: i64) -> anyhow::Result<()> {
        let settled: Vec<i64> =
            self.ids.iter().filter(|(_, states)| states.len() == 1).map(|(id, _)| *id).collect();
        let former = settled.get(step as usize / 3 % settled.len().max(1)).copied();
        let value = format!("{step}'");
        let quoted = value.replace('\'', "''");
        let (id, after, sql) = match (step % 5, former) {
            (0, Some(id)) if self.ids[&id][0].is_some() => (
                id,
                Some(value),
                format!(
                    r#"UPDATE "Order's" SET value = '{quoted}' WHERE id = {id};
                       UPDATE line SET value = '{quoted}' WHERE id = {id}"#
                ),
            ),
            (1, Some(id)) if self.ids[&id][0].is_some() => {
                (id, None, format!(r#"DELETE FROM "Order's" WHERE id = {id}"#))
            }
            _ => {
                let id = self.number * 1_000_000 + step;
                let sql = format!(
                    r#"INSERT INTO "Order's" VALUES ({id}, {}, '{quoted}');
                       INSERT INTO line (id, n, value) SELECT {id}, n, '{quoted}' FROM generate_series(1, 2) AS n"#,
                    self.number
                );
                (id, Some(value), sql)
            }
        };
        let before = self.ids.get(&id).and_then(|states| states[0].clone());
        match self.attempt(&format!("BEGIN; {sql}; COMMIT"))? {
            Ending::Committed => self.ids.insert(id, vec![after]),
            Ending::Unknown => self.ids.insert(id, vec![before, after]),
            Ending::RolledBack => None,
        };
        // A look that is refused is no answer; one that is given has to be right.
        let Some((id, states)) = self.ids.iter().nth(step as usize % self.ids.len().max(1)) else {
            return Ok(());
        };
        if let Some(session) = &self.session
            && let Ok(found) = session.rows(&query(&format!("o.id = {id}")))
        {
            check(*id, states, &found)?;
        }
        Ok(())
    }

    fn attempt(&mut self, sql: &str) -> anyhow::Result<Ending> {
        let session = match self.session.take() {
            Some(session) => session,
            // Any node that is there.
            None => match self.cluster.session(u16::try_from(fastrand(self.number) % 2 + 1)?) {
                Ok(session) => session,
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(50));
                    return Ok(Ending::RolledBack);
                }
            },
        };
        let Err(error) = session.run(sql) else {
            self.session = Some(session);
            return Ok(Ending::Committed);
        };
        let Some(code) = db_error(&error).map(|error| error.code().code().to_owned()) else {
            return Ok(Ending::Unknown);
        };
        if RETRYABLE.contains(&code.as_str()) && session.run("ROLLBACK").is_ok() {
            self.session = Some(session);
            return Ok(Ending::RolledBack);
        }
        // A server went, or another node did: connection, shutdown, start.
        let is_loss = ["08", "57", "40", "55P03", "53300"].iter().any(|of| code.starts_with(of));
        ensure!(is_loss, "{sql}: {error:#}");
        std::thread::sleep(Duration::from_millis(20));
        Ok(Ending::Unknown)
    }

    /// When nothing is under way any more, seen from one node.
    fn check(&self, node: u16) -> anyhow::Result<()> {
        let session = self.cluster.session(node)?;
        let found = session.rows(&query(&format!("o.client = {}", self.number)))?;
        let mut by_id = BTreeMap::<i64, Vec<Vec<Option<String>>>>::new();
        for row in found {
            let id = row[0].as_deref().context("an id is not null")?.parse()?;
            by_id.entry(id).or_default().push(row);
        }
        for (id, states) in &self.ids {
            let rows = by_id.remove(id).unwrap_or_default();
            check(*id, states, &rows).with_context(|| format!("node {node}"))?;
        }
        ensure!(by_id.is_empty(), "nobody has committed {by_id:?}");
        Ok(())
    }
}

fn query(condition: &str) -> String {
    format!(
        r#"SELECT o.id, o.value, (SELECT string_agg(l.n || '=' || l.value, ' ' ORDER BY l.n) FROM line AS l WHERE l.id = o.id)
           FROM "Order's" AS o WHERE {condition} ORDER BY o.id"#
    )
}

/// What was found of an id is one of the states that it may have.
fn check(id: i64, states: &[State], found: &[Vec<Option<String>>]) -> anyhow::Result<()> {
    let is_it = |state: &State| match (state, found) {
        (None, []) => true,
        (Some(value), [row]) => {
            row[1].as_ref() == Some(value)
                && row[2].as_deref() == Some(&format!("1={value} 2={value}"))
        }
        _ => false,
    };
    ensure!(states.iter().any(is_it), "id {id} is {found:?}, not one of {states:?}");
    Ok(())
}

/// Changes from call to call; nothing hangs on how.
fn fastrand(seed: i64) -> i64 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    seed + i64::from(CALLS.fetch_add(1, Ordering::Relaxed))
}

/// Runs clients while `work` moves and kills, then checks what each has written as
/// `nodes` see it.
pub fn beside_survivors(
    cluster: &TestCluster,
    nodes: &[u16],
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let is_over = AtomicBool::new(false);
    let clients = std::thread::scope(|scope| {
        let is_over = &is_over;
        let clients: Vec<_> = (1..4)
            .map(|number| {
                scope.spawn(move || -> anyhow::Result<Survivor<'_>> {
                    let ids = BTreeMap::new();
                    let mut client = Survivor { cluster, number, session: None, ids };
                    for step in 0.. {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        let done = client.step(step);
                        done.with_context(|| format!("client {number}, step {step}"))?;
                    }
                    Ok(client)
                })
            })
            .collect();
        let worked = work();
        is_over.store(true, Ordering::Relaxed);
        let clients: anyhow::Result<Vec<_>> = clients
            .into_iter()
            .map(|client| client.join().expect("clients do not panic"))
            .collect();
        worked?;
        clients
    })?;
    let written: usize = clients.iter().map(|client| client.ids.len()).sum();
    if written == 0 {
        bail!("the clients have written nothing");
    }
    crate::checks::nothing_is_prepared(cluster, nodes)?;
    for client in &clients {
        nodes.iter().try_for_each(|node| client.check(*node))?;
    }
    Ok(())
}
