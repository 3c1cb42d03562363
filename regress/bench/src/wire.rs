//! Round trips between the first server and the others, counted on the wire.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use regress::Proxy;

use crate::client::Client;
use crate::keys::Keys;
use crate::system::System;

/// Executions before those that are counted: connections exist and plans are
/// settled.
const WARM_RUNS: i64 = 8;
/// Executions that are counted.
const COUNTED_RUNS: i64 = 5;
/// What is not waited for has arrived after this.
const SETTLE: Duration = Duration::from_millis(50);
/// Where the servers listen while a proxy has their address.
const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// `h` of inserted rows, from here downwards.
const LAST_H: i64 = i32::MAX as i64;

/// A thing whose round trips are counted.
pub struct Traced {
    /// For the report.
    pub description: &'static str,
    /// What the issue asks for.
    pub target: Option<f64>,
    work: Traffic,
}

enum Traffic {
    /// Statements with a key as their only parameter: `$1`, loaded or new.
    Keyed(&'static [(&'static str, Key)]),
    /// Without parameters.
    Whole { sql: &'static str, cleanup: Option<&'static str> },
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    Loaded,
    New,
    None,
}

const SELECT: &str = "SELECT balance FROM accounts WHERE id = $1";
const UPDATE: &str = "UPDATE accounts SET balance = balance + 1 WHERE id = $1";
const INSERT: &str = "INSERT INTO kv VALUES ($1, 'a new value')";

/// Everything that is counted.
pub const TRACED: &[Traced] = &[
    Traced {
        description: "point SELECT",
        target: Some(1.0),
        work: Traffic::Keyed(&[(SELECT, Key::Loaded)]),
    },
    Traced {
        description: "UPDATE of one row",
        target: Some(1.0),
        work: Traffic::Keyed(&[(UPDATE, Key::Loaded)]),
    },
    Traced {
        description: "INSERT of one row",
        target: Some(1.0),
        work: Traffic::Keyed(&[(INSERT, Key::New)]),
    },
    Traced {
        description: "BEGIN, 2 UPDATE, INSERT, SELECT, COMMIT",
        target: None,
        work: Traffic::Keyed(&[
            ("BEGIN", Key::None),
            (UPDATE, Key::Loaded),
            (UPDATE, Key::Loaded),
            (INSERT, Key::New),
            (SELECT, Key::Loaded),
            ("COMMIT", Key::None),
        ]),
    },
    Traced {
        description: "count(*) over all partitions, both other nodes together",
        target: None,
        work: Traffic::Whole { sql: "SELECT count(*) FROM events", cleanup: None },
    },
    Traced {
        description: "ORDER BY an indexed column LIMIT 20, both other nodes together",
        target: None,
        work: Traffic::Whole { sql: "SELECT * FROM events ORDER BY ts LIMIT 20", cleanup: None },
    },
    Traced {
        description: "INSERT of 10k rows, both other nodes together",
        target: None,
        work: Traffic::Whole {
            sql: "INSERT INTO intake SELECT * FROM source",
            cleanup: Some("TRUNCATE intake"),
        },
    },
];

/// A system whose first server reaches the others through proxies.
pub struct Tap<'a> {
    system: &'a System<'a>,
    proxies: Vec<Proxy>,
}

impl<'a> Tap<'a> {
    /// Moves the servers of `system` to another address and puts proxies where
    /// they were. The system stays like this.
    pub fn put_into(system: &'a System<'a>) -> anyhow::Result<Self> {
        let mut proxies = Vec::new();
        for number in 2..=system.servers.count() {
            system.servers.move_to_address(number, &OTHER_ADDRESS.to_string())?;
            let port = system.servers.port(number);
            let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            proxies.push(Proxy::start(here, SocketAddr::from((OTHER_ADDRESS, port)))?);
        }
        Ok(Self { system, proxies })
    }

    /// Round trips of one execution of `traced` on a key of the second server.
    pub fn round_trips(&self, traced: &Traced, keys: &Keys) -> anyhow::Result<f64> {
        let client = self.system.client()?;
        match &traced.work {
            Traffic::Keyed(statements) => self.keyed(&client, statements, keys),
            Traffic::Whole { sql, cleanup } => {
                let clean = || cleanup.map_or(Ok(()), |cleanup| client.run(cleanup));
                client.run(sql)?;
                clean()?;
                let mut sum = 0;
                for _ in 0..COUNTED_RUNS {
                    let before = self.flights();
                    client.run(sql)?;
                    sum += self.since(&before);
                    clean()?;
                }
                Ok(sum as f64 / COUNTED_RUNS as f64)
            }
        }
    }

    fn keyed(
        &self,
        client: &Client,
        statements: &[(&str, Key)],
        keys: &Keys,
    ) -> anyhow::Result<f64> {
        let prepared = statements
            .iter()
            .map(|(sql, key)| match key {
                Key::None => Ok((None, *sql, *key)),
                _ => Ok((Some(client.prepare(sql)?), *sql, *key)),
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        // Each way of inserting needs keys of its own.
        let base = LAST_H - 1000 * statements.len() as i64;
        let mut before = self.flights();
        for run in 0..WARM_RUNS + COUNTED_RUNS {
            if run == WARM_RUNS {
                thread::sleep(SETTLE);
                before = self.flights();
            }
            for (position, (statement, sql, key)) in prepared.iter().enumerate() {
                let h = match key {
                    Key::Loaded => run * 10 + position as i64 % 2,
                    _ => base - run,
                };
                match statement {
                    Some(statement) => client.execute(statement, &[keys.key(2, h)?])?,
                    None => client.run(sql)?,
                }
            }
        }
        Ok(self.since(&before) as f64 / COUNTED_RUNS as f64)
    }

    fn flights(&self) -> Vec<Vec<Option<u64>>> {
        self.proxies.iter().map(Proxy::flights).collect()
    }

    fn since(&self, before: &[Vec<Option<u64>>]) -> u64 {
        thread::sleep(SETTLE);
        let after = self.flights();
        let mut sum = 0;
        for (before, after) in before.iter().zip(&after) {
            for (index, flights) in after.iter().enumerate() {
                let earlier = before.get(index).copied().flatten().unwrap_or(0);
                sum += flights.map_or(0, |flights| flights - earlier);
            }
        }
        sum
    }
}
