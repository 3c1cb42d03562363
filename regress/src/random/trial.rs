//! Runs statements on a cluster and on one PostgreSQL, and compares.

use std::time::Instant;

use anyhow::{Context, bail};

use super::change::Change;
use super::draw_point::Point;
use super::generator::Generator;
use super::prng::Prng;
use super::query::Query;
use super::schema::Schema;
use crate::cluster::TestCluster;
use crate::session::{Session, db_error};

/// After so many differences of queries a seed has said enough.
const DIFFERENCES_PER_SEED: usize = 4;
/// So many smaller statements are tried before the smallest so far is shown.
const SHRINK_TRIALS: usize = 400;
const SHOWN_ROWS: usize = 12;
/// Ways of planning, drawn for each seed; the answer may not depend on them.
const SWITCHES: &[&str] = &[
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "enable_nestloop = off",
    "enable_hashagg = off",
    "enable_sort = off",
    "enable_material = off",
    "enable_memoize = off",
    "enable_async_append = off",
    "enable_partitionwise_join = on",
    "enable_partitionwise_aggregate = on",
    "enable_incremental_sort = off",
    "plan_cache_mode = force_generic_plan",
];
const ON_BOTH: &str = "SET statement_timeout = '20s'; SET client_min_messages = warning; SET timezone = 'Europe/Berlin'";

/// Servers to compare, for as many seeds as wanted.
pub struct Trial {
    /// One session on each node; or on a server that has foreign tables for those
    /// of the plain one.
    cluster: Vec<Session>,
    plain: Session,
    /// The tables are foreign: they are only read.
    is_foreign: bool,
}

/// What came of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Rows(Vec<Vec<Option<String>>>),
    /// The SQLSTATE.
    Error(String),
}

impl Outcome {
    fn of(session: &Session, sql: &str) -> anyhow::Result<Self> {
        match session.rows(sql) {
            Ok(rows) => Ok(Self::Rows(rows)),
            Err(error) => match db_error(&error).map(|db| db.code().code().to_owned()) {
                Some(code) if code.starts_with("57P") || code.starts_with("XX") => {
                    Err(error.context("a server lost its way"))
                }
                // Which of several constraints a statement meets first is open.
                Some(code) if code.starts_with("23") => Ok(Self::Error("23".to_owned())),
                Some(code) => Ok(Self::Error(code)),
                None => Err(error),
            },
        }
    }

    fn sorted(mut self) -> Self {
        if let Self::Rows(rows) = &mut self {
            rows.sort();
        }
        self
    }

    fn shown(&self) -> String {
        match self {
            Self::Error(code) => format!("  error {code}\n"),
            Self::Rows(rows) => {
                let mut text = format!("  {} rows\n", rows.len());
                for row in rows.iter().take(SHOWN_ROWS) {
                    let values: Vec<&str> =
                        row.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect();
                    text.push_str(&format!("  {}\n", values.join(" | ")));
                }
                text
            }
        }
    }
}

/// Two outcomes that should be one.
struct Difference {
    cluster: Outcome,
    plain: Outcome,
}

impl Difference {
    fn between(cluster: Outcome, plain: Outcome) -> Option<Self> {
        // Too slow on either side says nothing.
        let is_slow = |o: &Outcome| matches!(o, Outcome::Error(code) if code == "57014");
        if cluster == plain || is_slow(&cluster) || is_slow(&plain) {
            return None;
        }
        Some(Self { cluster, plain })
    }

    fn shown(&self) -> String {
        format!("cluster:\n{}plain:\n{}", self.cluster.shown(), self.plain.shown())
    }
}

/// The server behind the foreign tables.
const SERVER: &str = "far";

/// Compares foreign tables on the first of two servers, which has the extension,
/// with the tables on the second that they stand for; seeds as in [`explore`].
pub fn explore_foreign(
    servers: &TestCluster,
    first: u64,
    n_statements: usize,
    goes_on: impl FnMut(u64) -> bool,
) -> anyhow::Result<()> {
    let open = || -> anyhow::Result<Trial> {
        let (front, behind) = (servers.session(1)?, servers.session(2)?);
        Ok(Trial { cluster: vec![front], plain: behind, is_foreign: true })
    };
    let trial = open()?;
    let front = &trial.cluster[0];
    front.run("CREATE EXTENSION shardman")?;
    front.run(&format!(
        "CREATE SERVER {SERVER} FOREIGN DATA WRAPPER shardman_fdw \
         OPTIONS (host '127.0.0.1', port '{}', dbname 'postgres'); \
         CREATE USER MAPPING FOR postgres SERVER {SERVER} OPTIONS (user 'postgres')",
        servers.port(2)
    ))?;
    for session in [front, &trial.plain] {
        for statement in Schema::on_each_node() {
            session.run(&statement)?;
        }
    }
    run_seeds(trial, open, first, n_statements, goes_on)
}

/// Runs seeds `first`, `first + 1`, … for as long as `goes_on` says; an error
/// tells every difference found.
pub fn explore(
    cluster: &TestCluster,
    plain: &TestCluster,
    first: u64,
    n_statements: usize,
    goes_on: impl FnMut(u64) -> bool,
) -> anyhow::Result<()> {
    let trial = Trial::new(cluster, plain)?;
    run_seeds(trial, || Trial::again(cluster, plain), first, n_statements, goes_on)
}

fn run_seeds(
    mut trial: Trial,
    again: impl Fn() -> anyhow::Result<Trial>,
    first: u64,
    n_statements: usize,
    mut goes_on: impl FnMut(u64) -> bool,
) -> anyhow::Result<()> {
    let mut differences = Vec::new();
    let mut seed = first;
    let mut n_run = 0;
    while goes_on(seed) {
        match trial.run(seed, n_statements) {
            Ok(found) => differences.extend(found),
            Err(error) => {
                differences.push(format!("seed {seed}: {error:#}"));
                trial = again()?;
            }
        }
        seed += 1;
        n_run += 1;
    }
    println!("{n_run} seeds from {first} on, {} differences", differences.len());
    match differences.is_empty() {
        true => Ok(()),
        false => bail!("{} differences\n\n{}", differences.len(), differences.join("\n\n")),
    }
}

impl Trial {
    /// On servers where nothing has been made yet.
    pub fn new(cluster: &TestCluster, plain: &TestCluster) -> anyhow::Result<Self> {
        let trial = Self::again(cluster, plain)?;
        for session in trial.cluster.iter().chain([&trial.plain]) {
            for statement in Schema::on_each_node() {
                session.run(&statement)?;
            }
        }
        Ok(trial)
    }

    fn again(cluster: &TestCluster, plain: &TestCluster) -> anyhow::Result<Self> {
        let nodes = 1..=cluster.count()?;
        let sessions = nodes.map(|node| cluster.session(node)).collect::<anyhow::Result<_>>()?;
        Ok(Self { cluster: sessions, plain: plain.session(1)?, is_foreign: false })
    }

    /// The differences that one seed shows.
    pub fn run(&mut self, seed: u64, n_statements: usize) -> anyhow::Result<Vec<String>> {
        let start = Instant::now();
        let mut prng = Prng::new(seed);
        let schema = Schema::draw(&mut prng);
        let switches = self.prepare(&mut prng, &schema).context("could not set up")?;
        let set_up = start.elapsed();
        let mut found = Vec::new();
        let mut ids = 0;
        for _ in 0..n_statements {
            let node = prng.below(self.cluster.len());
            let choice = if self.is_foreign { prng.below(7) } else { prng.below(12) };
            let mut generator = Generator::new(&mut prng, &schema.tables, &mut ids);
            let (difference, goes_on) = match choice {
                0..7 => (self.try_query(node, &generator.query(), choice == 0)?, true),
                7..9 => {
                    let difference = self.try_change(node, &generator.change(), &schema)?;
                    let goes_on = difference.is_none();
                    (difference, goes_on)
                }
                9..11 => {
                    let point = generator.point();
                    let difference = self.try_point(node, &point, choice == 9, &schema)?;
                    let goes_on = difference.is_none();
                    (difference, goes_on)
                }
                _ => {
                    let changes: Vec<Change> = (0..4).map(|_| generator.change()).collect();
                    let difference = self.try_transaction(node, &changes, &mut prng, &schema)?;
                    let goes_on = difference.is_none();
                    (difference, goes_on)
                }
            };
            if let Some(text) = difference {
                found.push(format!(
                    "seed {seed}, node {}, {}\n{text}",
                    node + 1,
                    switches.join("; ")
                ));
            }
            if !goes_on || found.len() >= DIFFERENCES_PER_SEED {
                break;
            }
        }
        println!(
            "seed {seed}: {} differences, {:.1} s, of which {:.1} s for the tables",
            found.len(),
            start.elapsed().as_secs_f32(),
            set_up.as_secs_f32()
        );
        if let Some(first) = found.first_mut() {
            let statements = match self.is_foreign {
                true => [schema.create(false), schema.create_foreign(SERVER), schema.fill()],
                false => [schema.create(true), schema.fill(), Vec::new()],
            };
            let statements = statements.concat();
            first.insert_str(0, &format!("{};\n", statements.join(";\n")));
        }
        Ok(found)
    }

    /// Makes and fills the tables; returns how the cluster's sessions plan.
    fn prepare(&self, prng: &mut Prng, schema: &Schema) -> anyhow::Result<Vec<&'static str>> {
        let names = "DROP TABLE IF EXISTS t3; DROP TABLE IF EXISTS t2; DROP TABLE IF EXISTS t1; DROP TABLE IF EXISTS t0";
        let switches: Vec<&str> = SWITCHES.iter().filter(|_| prng.one_in(5)).copied().collect();
        for session in self.cluster.iter().chain([&self.plain]) {
            session.run("ROLLBACK; RESET ALL; DEALLOCATE ALL")?;
            session.run(ON_BOTH)?;
        }
        let first = self.cluster.first().context("a cluster has a node")?;
        for statement in names.split("; ") {
            match self.is_foreign {
                true => first.run(&statement.replace("DROP TABLE", "DROP FOREIGN TABLE"))?,
                false => first.run(statement)?,
            }
            self.plain.run(statement)?;
        }
        for session in &self.cluster {
            for switch in &switches {
                session.run(&format!("SET {switch}"))?;
            }
        }
        let created = match self.is_foreign {
            true => schema.create_foreign(SERVER),
            false => schema.create(true),
        };
        for statement in created {
            self.cluster[prng.below(self.cluster.len())].run(&statement)?;
        }
        for statement in schema.create(false) {
            self.plain.run(&statement)?;
        }
        for statement in schema.fill() {
            if !self.is_foreign {
                self.cluster[prng.below(self.cluster.len())].run(&statement)?;
            }
            self.plain.run(&statement)?;
        }
        if prng.one_in(2) {
            for table in &schema.tables {
                first.run(&format!("ANALYZE {}", table.name))?;
            }
        }
        Ok(switches)
    }

    fn both(&self, node: usize, sql: &str) -> anyhow::Result<Option<Difference>> {
        let of = |session: &Session| {
            Outcome::of(session, sql).with_context(|| format!("node {}: {sql}", node + 1))
        };
        Ok(Difference::between(of(&self.cluster[node])?.sorted(), of(&self.plain)?.sorted()))
    }

    fn query(
        &self,
        node: usize,
        query: &Query,
        is_prepared: bool,
    ) -> anyhow::Result<Option<Difference>> {
        let mut parameters = is_prepared.then(Vec::new);
        let mut sql = query.sql(&mut parameters);
        if let Some(values) = parameters.filter(|list| !list.is_empty()) {
            let prepare = format!("PREPARE q AS {sql}");
            for session in [&self.cluster[node], &self.plain] {
                session.run("DEALLOCATE ALL")?;
            }
            if let Some(difference) = self.both(node, &prepare)? {
                return Ok(Some(difference));
            }
            sql = format!("EXECUTE q({})", values.join(", "));
        }
        let of = |session: &Session| {
            Outcome::of(session, &sql).with_context(|| format!("node {}: {sql}", node + 1))
        };
        let (mut cluster, mut plain) = (of(&self.cluster[node])?, of(&self.plain)?);
        if query.order.is_none() {
            (cluster, plain) = (cluster.sorted(), plain.sorted());
        }
        Ok(Difference::between(cluster, plain))
    }

    fn try_query(
        &self,
        node: usize,
        query: &Query,
        is_prepared: bool,
    ) -> anyhow::Result<Option<String>> {
        let Some(difference) = self.query(node, query, is_prepared)? else { return Ok(None) };
        let (smallest, difference) =
            smallest(query.clone(), difference, Query::shrunk, |candidate| {
                self.query(node, candidate, is_prepared)
            })?;
        let how = if is_prepared { " (prepared)" } else { "" };
        Ok(Some(format!("{};{how}\n{}", smallest.sql(&mut None), difference.shown())))
    }

    /// Tables that are not the same, seen from one node.
    fn state(&self, node: usize, schema: &Schema) -> anyhow::Result<Option<Difference>> {
        for table in &schema.tables {
            if let Some(difference) = self.both(node, &format!("SELECT * FROM {}", table.name))? {
                return Ok(Some(difference));
            }
        }
        Ok(None)
    }

    /// The statement inside a transaction that is rolled back.
    fn rehearse(
        &self,
        node: usize,
        change: &Change,
        schema: &Schema,
    ) -> anyhow::Result<Option<Difference>> {
        self.both(node, "BEGIN")?;
        let mut difference = self.both(node, &change.sql())?;
        if difference.is_none() {
            difference = self.state(node, schema)?;
        }
        self.both(node, "ROLLBACK")?;
        Ok(difference)
    }

    fn try_change(
        &self,
        node: usize,
        change: &Change,
        schema: &Schema,
    ) -> anyhow::Result<Option<String>> {
        let Some(difference) = self.rehearse(node, change, schema)? else {
            // In earnest, as a transaction of its own; seen from another node.
            let sql = change.sql();
            let difference = match self.both(node, &sql)? {
                Some(difference) => Some(difference),
                None => self.state((node + 1) % self.cluster.len(), schema)?,
            };
            return Ok(difference.map(|d| format!("{sql}; (autocommit)\n{}", d.shown())));
        };
        let (smallest, difference) =
            smallest(change.clone(), difference, Change::shrunk, |candidate| {
                self.rehearse(node, candidate, schema)
            })?;
        Ok(Some(format!("{};\n{}", smallest.sql(), difference.shown())))
    }

    /// A point statement, for one key after the other.
    fn try_point(
        &self,
        node: usize,
        point: &Point,
        is_prepared: bool,
        schema: &Schema,
    ) -> anyhow::Result<Option<String>> {
        let of = |session: &Session, sql: &str| {
            Outcome::of(session, sql).with_context(|| format!("node {}: {sql}", node + 1))
        };
        let mut done = String::new();
        if is_prepared {
            for session in [&self.cluster[node], &self.plain] {
                session.run("DEALLOCATE ALL")?;
            }
            let sql = format!("PREPARE p ({}) AS {}", point.types.join(", "), point.sql);
            done = format!("{sql};\n");
            if let Some(difference) = self.both(node, &sql)? {
                return Ok(Some(format!("{done}{}", difference.shown())));
            }
        }
        for values in &point.values {
            let sql = match is_prepared {
                true => format!("EXECUTE p({})", values.join(", ")),
                false => point.with_values(values),
            };
            let (mut cluster, mut plain) = (of(&self.cluster[node], &sql)?, of(&self.plain, &sql)?);
            if !point.is_ordered {
                (cluster, plain) = (cluster.sorted(), plain.sorted());
            }
            done.push_str(&format!("{sql};\n"));
            if let Some(difference) = Difference::between(cluster, plain.clone()) {
                return Ok(Some(format!("{done}{}", difference.shown())));
            }
            if !point.writes && !is_prepared {
                let session = &self.cluster[node];
                session.run("SET shardman.enable_router = off")?;
                let mut otherwise = of(session, &sql)?;
                session.run("SET shardman.enable_router = on")?;
                if !point.is_ordered {
                    otherwise = otherwise.sorted();
                }
                if let Some(difference) = Difference::between(otherwise, plain) {
                    return Ok(Some(format!("{done}(not routed)\n{}", difference.shown())));
                }
            }
        }
        let state = match point.writes {
            true => self.state((node + 1) % self.cluster.len(), schema)?,
            false => None,
        };
        Ok(state.map(|d| format!("{done}then the tables\n{}", d.shown())))
    }

    /// Changes with savepoints between them.
    fn try_transaction(
        &self,
        node: usize,
        changes: &[Change],
        prng: &mut Prng,
        schema: &Schema,
    ) -> anyhow::Result<Option<String>> {
        let level = *prng.pick(&["", "", " ISOLATION LEVEL REPEATABLE READ"]);
        let mut statements = vec![format!("BEGIN{level}")];
        for (i, change) in changes.iter().enumerate() {
            statements.push(format!("SAVEPOINT s{i}"));
            statements.push(change.sql());
            if prng.one_in(3) {
                statements.push(format!("ROLLBACK TO s{i}"));
            }
            // Those with even numbers stay, for a way back from further on.
            if i % 2 == 1 && prng.one_in(2) {
                statements.push(format!("RELEASE s{i}"));
            }
            if prng.one_in(4) {
                statements.push(format!("ROLLBACK TO s{}", prng.below(i / 2 + 1) * 2));
            }
        }
        statements.push((*prng.pick(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"])).to_owned());
        let mut done = String::new();
        for statement in &statements {
            done.push_str(&format!("{statement};\n"));
            if let Some(difference) = self.both(node, statement)? {
                return Ok(Some(format!("{done}{}", difference.shown())));
            }
        }
        let state = self.state((node + 1) % self.cluster.len(), schema)?;
        Ok(state.map(|d| format!("{done}then the tables\n{}", d.shown())))
    }
}

/// What still differs after parts of it were left out, and how; it gives up
/// looking for less after so many trials.
fn smallest<T>(
    mut whole: T,
    mut difference: Difference,
    shrunk: impl Fn(&T) -> Vec<T>,
    differs: impl Fn(&T) -> anyhow::Result<Option<Difference>>,
) -> anyhow::Result<(T, Difference)> {
    let mut trials = 0;
    'smaller: loop {
        for candidate in shrunk(&whole) {
            trials += 1;
            if trials > SHRINK_TRIALS {
                break 'smaller;
            }
            if let Some(still) = differs(&candidate)? {
                (whole, difference) = (candidate, still);
                continue 'smaller;
            }
        }
        break;
    }
    Ok((whole, difference))
}
