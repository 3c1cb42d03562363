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
    /// The same, and only the last one is counted: how often it waits for each
    /// of the nodes, which it does for all at the same time.
    Last(&'static [(&'static str, Key)]),
    /// Without parameters.
    Whole { sql: &'static str, cleanup: Option<&'static str> },
}

/// Which of the statements.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    All,
    Last,
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    /// Of a loaded row of this server.
    Loaded(u16),
    /// Of a row to be, on this server.
    New(u16),
    None,
}

const SELECT: &str = "SELECT balance FROM accounts WHERE id = $1";
const UPDATE: &str = "UPDATE accounts SET balance = balance + 1 WHERE id = $1";
const INSERT: &str = "INSERT INTO kv VALUES ($1, 'a new value')";

const TRANSFER_OF_TWO: &[(&str, Key)] = &[
    ("BEGIN", Key::None),
    (UPDATE, Key::Loaded(2)),
    (UPDATE, Key::Loaded(3)),
    (INSERT, Key::New(2)),
    (SELECT, Key::Loaded(2)),
    ("COMMIT", Key::None),
];

/// Everything that is counted.
pub const TRACED: &[Traced] = &[
    Traced {
        description: "point SELECT",
        target: Some(1.0),
        work: Traffic::Keyed(&[(SELECT, Key::Loaded(2))]),
    },
    Traced {
        description: "UPDATE of one row",
        target: Some(1.0),
        work: Traffic::Keyed(&[(UPDATE, Key::Loaded(2))]),
    },
    Traced {
        description: "INSERT of one row",
        target: Some(1.0),
        work: Traffic::Keyed(&[(INSERT, Key::New(2))]),
    },
    Traced {
        description: "BEGIN, 2 UPDATE, INSERT, SELECT, COMMIT",
        target: None,
        work: Traffic::Keyed(&[
            ("BEGIN", Key::None),
            (UPDATE, Key::Loaded(2)),
            (UPDATE, Key::Loaded(2)),
            (INSERT, Key::New(2)),
            (SELECT, Key::Loaded(2)),
            ("COMMIT", Key::None),
        ]),
    },
    Traced {
        description: "the same between accounts of nodes 2 and 3, both together",
        target: None,
        work: Traffic::Keyed(TRANSFER_OF_TWO),
    },
    Traced {
        description: "of that COMMIT, for each node (waits for other nodes after the last statement)",
        target: Some(2.0),
        work: Traffic::Last(TRANSFER_OF_TWO),
    },
    Traced {
        description: "BEGIN, SELECT on node 2, SELECT on node 3, COMMIT, both nodes together",
        target: None,
        work: Traffic::Keyed(&[
            ("BEGIN", Key::None),
            (SELECT, Key::Loaded(2)),
            (SELECT, Key::Loaded(3)),
            ("COMMIT", Key::None),
        ]),
    },
    Traced {
        description: "the same with BEGIN ISOLATION LEVEL REPEATABLE READ",
        target: None,
        work: Traffic::Keyed(&[
            ("BEGIN ISOLATION LEVEL REPEATABLE READ", Key::None),
            (SELECT, Key::Loaded(2)),
            (SELECT, Key::Loaded(3)),
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
            Traffic::Keyed(statements) => self.keyed(&client, statements, keys, Counted::All),
            Traffic::Last(statements) => self.keyed(&client, statements, keys, Counted::Last),
            Traffic::Whole { sql, cleanup } => {
                let clean = || cleanup.map_or(Ok(()), |cleanup| client.run(cleanup));
                client.run(sql)?;
                clean()?;
                let mut sum = 0;
                for _ in 0..COUNTED_RUNS {
                    let before = self.flights();
                    client.run(sql)?;
                    sum += self.since(&before).iter().sum::<u64>();
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
        counted: Counted,
    ) -> anyhow::Result<f64> {
        let prepared = statements
            .iter()
            .map(|(sql, key)| match key {
                Key::None => Ok((None, *sql, *key)),
                _ => Ok((Some(client.prepare(sql)?), *sql, *key)),
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        // Each way of inserting needs keys of its own.
        let base = LAST_H
            - 1000 * statements.len() as i64
            - 100 * i64::from(counted == Counted::Last)
            - 200 * i64::from(statements.iter().any(|(_, key)| *key == Key::Loaded(3)));
        let mut sum = 0;
        let mut before = self.flights();
        for run in 0..WARM_RUNS + COUNTED_RUNS {
            if run == WARM_RUNS && counted == Counted::All {
                thread::sleep(SETTLE);
                before = self.flights();
            }
            for (position, (statement, sql, key)) in prepared.iter().enumerate() {
                let is_last = position + 1 == prepared.len();
                if is_last && counted == Counted::Last {
                    thread::sleep(SETTLE);
                    before = self.flights();
                }
                let (server, h) = match key {
                    Key::Loaded(server) => (*server, run * 10 + position as i64 % 2),
                    Key::New(server) => (*server, base - run),
                    Key::None => (2, 0),
                };
                match statement {
                    Some(statement) => client.execute(statement, &[keys.key(server, h)?])?,
                    None => client.run(sql)?,
                }
            }
            if run >= WARM_RUNS && counted == Counted::Last {
                sum += self.since(&before).into_iter().max().unwrap_or(0);
            }
        }
        if counted == Counted::All {
            sum = self.since(&before).iter().sum();
        }
        Ok(sum as f64 / COUNTED_RUNS as f64)
    }

    fn flights(&self) -> Vec<Vec<Option<u64>>> {
        self.proxies.iter().map(Proxy::flights).collect()
    }

    /// Round trips with each of the other servers.
    fn since(&self, before: &[Vec<Option<u64>>]) -> Vec<u64> {
        thread::sleep(SETTLE);
        let after = self.flights();
        let of_one = |(before, after): (&Vec<Option<u64>>, &Vec<Option<u64>>)| {
            let flights = after.iter().enumerate().map(|(index, flights)| {
                let earlier = before.get(index).copied().flatten().unwrap_or(0);
                flights.map_or(0, |flights| flights - earlier)
            });
            flights.sum()
        };
        before.iter().zip(&after).map(of_one).collect()
    }
}
