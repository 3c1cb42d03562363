//! Clients that go on while partitions move and are told nothing but to try again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use regress::{Session, TestCluster, db_error};

use crate::MOVE_BOUND;

/// What a client may be told at any time, and then runs the transaction again.
pub const RETRYABLE: [&str; 3] = ["40001", "40P01", "55P03"];

/// A client that knows what it has written.
struct Client<'a> {
    cluster: &'a TestCluster,
    number: i64,
    session: Session,
    rows: BTreeMap<i64, String>,
    retries: u32,
    longest: Duration,
}

impl<'a> Client<'a> {
    fn new(cluster: &'a TestCluster, number: i64, nodes: i64) -> anyhow::Result<Self> {
        let session = cluster.session(u16::try_from(number % nodes + 1)?)?;
        session.run(
            r#"PREPARE own (bigint) AS SELECT value FROM "Order's" WHERE id = $1;
               PREPARE whole (bigint) AS SELECT count(*), sum(twice) FROM "Order's" WHERE client = $1"#,
        )?;
        let (rows, retries, longest) = (BTreeMap::new(), 0, Duration::ZERO);
        Ok(Client { cluster, number, session, rows, retries, longest })
    }

    /// Runs it until it is not refused for the moment.
    fn insist(&mut self, sql: &str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        let began = Instant::now();
        loop {
            match self.session.rows(sql) {
                Ok(rows) => {
                    self.longest = self.longest.max(began.elapsed());
                    return Ok(rows);
                }
                Err(error) => {
                    let code = db_error(&error).map(|error| error.code().code().to_owned());
                    if !code.is_some_and(|code| RETRYABLE.contains(&code.as_str())) {
                        return Err(error);
                    }
                    self.retries += 1;
                    self.session.run("ROLLBACK")?;
                    ensure!(began.elapsed() < MOVE_BOUND, "refused again and again: {error:#}");
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    /// One transaction, and a look at what must be there.
    fn step(&mut self, step: i64) -> anyhow::Result<()> {
        let id = self.number * 1_000_000 + step;
        let value = format!("{step}\\'");
        let quoted = value.replace('\'', "''");
        let client = self.number;
        let former = self.rows.keys().nth(step as usize / 3 % self.rows.len().max(1)).copied();
        match (step % 5, former) {
            (0, Some(former)) => {
                self.insist(&format!(
                    r#"BEGIN; UPDATE "Order's" SET value = '{quoted}' WHERE id = {former};
                       UPDATE line SET value = '{quoted}' WHERE id = {former} AND n = 1; COMMIT"#
                ))?;
                self.rows.insert(former, value);
            }
            (1, Some(former)) => {
                self.insist(&format!(
                    r#"BEGIN; DELETE FROM "Order's" WHERE id = {former}; COMMIT"#
                ))?;
                self.rows.remove(&former);
            }
            _ => {
                self.insist(&format!(
                    r#"BEGIN; INSERT INTO "Order's" VALUES ({id}, {client}, '{quoted}');
                       INSERT INTO line (id, n, value) SELECT {id}, n, '{quoted}' FROM generate_series(1, 2) AS n; COMMIT"#
                ))?;
                self.rows.insert(id, value);
            }
        }
        if let Some((id, value)) = self.rows.iter().nth(step as usize % self.rows.len().max(1)) {
            let (id, value) = (*id, value.clone());
            let found = self.insist(&format!("EXECUTE own ({id})"))?;
            ensure!(found == [[Some(value)]], "row {id} is {found:?}");
        }
        if step % 7 == 0 {
            let begin =
                if step % 2 == 0 { "BEGIN ISOLATION LEVEL REPEATABLE READ; " } else { "BEGIN; " };
            let found = self.insist(&format!("{begin} EXECUTE whole ({client}); COMMIT"))?;
            let sum: i64 = self.rows.keys().map(|id| id * 2).sum();
            let expected = [
                Some(self.rows.len().to_string()),
                (!self.rows.is_empty()).then(|| sum.to_string()),
            ];
            ensure!(found == [expected.to_vec()], "client {client}: {found:?}, not {expected:?}");
        }
        Ok(())
    }

    /// What is there in the end, seen from another node.
    fn check(&self, nodes: i64) -> anyhow::Result<()> {
        for node in 1..=nodes {
            let session = self.cluster.session(u16::try_from(node)?)?;
            let found = session.rows(&format!(
                r#"SELECT o.id, o.value, (SELECT string_agg(l.n || '=' || l.value, ' ' ORDER BY l.n) FROM line AS l WHERE l.id = o.id)
                   FROM "Order's" AS o WHERE client = {} ORDER BY id"#,
                self.number
            ))?;
            ensure!(
                found.len() == self.rows.len(),
                "{} rows, not {}",
                found.len(),
                self.rows.len()
            );
            for (row, (id, value)) in found.iter().zip(&self.rows) {
                ensure!(
                    row[0].as_deref() == Some(&id.to_string()) && row[1].as_ref() == Some(value),
                    "{row:?}, not {id} {value}"
                );
                let lines = row[2].as_deref().unwrap_or_default();
                ensure!(lines.starts_with(&format!("1={value} 2=")), "{row:?}");
            }
        }
        Ok(())
    }
}

/// Runs clients while something else goes on, then checks everything.
pub fn under_load(
    cluster: &TestCluster,
    nodes: i64,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (is_over, steps) = (AtomicBool::new(false), AtomicU32::new(0));
    let clients = std::thread::scope(|scope| {
        let (is_over, steps) = (&is_over, &steps);
        let clients: Vec<_> = (0..nodes + 1)
            .map(|number| {
                scope.spawn(move || -> anyhow::Result<Client<'_>> {
                    let mut client = Client::new(cluster, number, nodes)?;
                    for step in 0.. {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        client
                            .step(step)
                            .with_context(|| format!("client {number}, step {step}"))?;
                        steps.fetch_add(1, Ordering::Relaxed);
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
    eprintln!(
        "{} transactions, {} retries, the longest {:?}",
        steps.load(Ordering::Relaxed),
        clients.iter().map(|client| client.retries).sum::<u32>(),
        clients.iter().map(|client| client.longest).max().unwrap_or_default()
    );
    for client in &clients {
        client.check(nodes)?;
    }
    Ok(())
}
