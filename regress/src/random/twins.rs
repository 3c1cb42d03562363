//! The same schema changes and changes of rows on a cluster and on one
//! PostgreSQL: rows, counts, errors, and what tools read of the schema.

use anyhow::ensure;

use super::draw_ddl::{CREATE_FUNCTIONS, create, draw_ddl};
use super::draw_rows::{draw_change, draw_ordered, draw_read};
use super::literals::CREATE_TYPES;
use super::present::{KeyType, Present};
use super::prng::Prng;
use crate::cluster::TestCluster;
use crate::session::{Answer, Session, db_error};

/// What tools ask about tables and their columns, keys and indexes. `ON ONLY` is
/// how an index of a partitioned table is printed.
const INTROSPECTION: &[&str] = &[
    // SQLAlchemy, Prisma, Rails and Django, in this order, without what they do not use.
    "SELECT table_name, column_name, ordinal_position, column_default, is_nullable, data_type,
            character_maximum_length, numeric_precision, numeric_scale
     FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3",
    "SELECT table_name, constraint_name, constraint_type, is_deferrable, initially_deferred
     FROM information_schema.table_constraints
     WHERE table_schema = 'public' AND constraint_name NOT LIKE '%_not_null' ORDER BY 1, 2",
    "SELECT table_name, constraint_name, column_name, ordinal_position, position_in_unique_constraint
     FROM information_schema.key_column_usage WHERE table_schema = 'public' ORDER BY 1, 2, 4",
    "SELECT constraint_name, unique_constraint_schema, unique_constraint_name, match_option, update_rule, delete_rule
     FROM information_schema.referential_constraints WHERE constraint_schema = 'public' ORDER BY 1",
    "SELECT table_name, column_name, constraint_name FROM information_schema.constraint_column_usage
     WHERE table_schema = 'public' ORDER BY 1, 2, 3",
    "SELECT c.conrelid::regclass, c.conname, c.contype, c.condeferrable, c.condeferred, c.convalidated,
            c.confrelid::regclass, c.confupdtype, c.confdeltype, c.confmatchtype, c.conparentid, c.conislocal,
            c.coninhcount, pg_get_constraintdef(c.oid, true),
            (SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY AS k(attnum, n)
                  JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum) AS columns
     FROM pg_constraint AS c JOIN pg_namespace AS n ON n.oid = c.connamespace
     WHERE n.nspname = 'public' ORDER BY 1, 2",
    "SELECT tablename, indexname, replace(indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes
     WHERE schemaname = 'public' ORDER BY 1, 2",
    "SELECT i.indrelid::regclass, i.indexrelid::regclass, i.indisunique, i.indisprimary, i.indisvalid, i.indisready,
            i.indnkeyatts, i.indoption, pg_get_expr(i.indpred, i.indrelid),
            (SELECT array_agg(pg_get_indexdef(i.indexrelid, n, true)) FROM generate_series(1, i.indnatts) AS n)
     FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
     WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1, 2",
    "SELECT a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef,
            pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum), a.attinhcount, a.attislocal
     FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid IN ('a'::regclass, 'b'::regclass, 'c'::regclass) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2",
    "SELECT table_name, table_type, is_insertable_into FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
    "SELECT event_object_table, trigger_name, event_manipulation, action_statement, action_orientation, action_timing
     FROM information_schema.triggers WHERE trigger_schema = 'public' ORDER BY 1, 2, 3",
    "SELECT c.relname, obj_description(c.oid), c.relrowsecurity, c.relhastriggers, c.relhasindex, c.reltype::regtype,
            pg_get_viewdef(c.oid) FROM pg_class AS c WHERE c.relname IN ('a', 'b', 'c', 'seen') AND c.relnamespace = 'public'::regnamespace",
];

/// What came of a statement: rows, sorted, and counts; or its SQLSTATE.
#[derive(Debug, PartialEq)]
enum Outcome {
    Done(Answer),
    Error(String),
}

fn outcome(session: &Session, sql: &str) -> anyhow::Result<Outcome> {
    match session.answer(sql) {
        Ok(mut answer) => {
            answer.rows.sort();
            Ok(Outcome::Done(answer))
        }
        Err(error) => match db_error(&error).map(|db| db.code().code().to_owned()) {
            Some(code) if code.starts_with("XX") || code.starts_with("57P") => {
                Err(error.context("a server lost its way"))
            }
            // Which of several constraints a statement meets first is open.
            Some(code) if code.starts_with("23") => Ok(Outcome::Error("23".to_owned())),
            Some(code) => Ok(Outcome::Error(code)),
            None => Err(error),
        },
    }
}

/// A statement drawn, on one node.
enum Drawn {
    Ddl(String),
    Rows(String),
    /// Statements that make sense only one after the other, in one session.
    Script(Vec<String>),
}

/// How many of the statements that were run succeeded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// On both sides.
    pub succeeded: usize,
    /// All that were drawn.
    pub drawn: usize,
}

/// Runs `n_statements` of each seed through nodes drawn at random, as long as
/// `goes_on`; an error with the first difference of every seed that has one, and
/// what led to it.
pub fn compare_with_plain(
    cluster: &TestCluster,
    plain: &TestCluster,
    first: u64,
    n_statements: usize,
    mut goes_on: impl FnMut(u64) -> bool,
) -> anyhow::Result<Tally> {
    let count = cluster.count()?;
    let mut twins = Twins {
        nodes: (1..=count).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?,
        plain: plain.session(1)?,
        story: Vec::new(),
        tally: Tally::default(),
    };
    twins.begin()?;
    let mut differences = Vec::new();
    for seed in (first..).take_while(|seed| goes_on(*seed)) {
        if let Err(error) = twins.run_seed(seed, n_statements) {
            differences.push(format!("seed {seed}:\n{};\n{error:#}", twins.story.join(";\n")));
            for session in twins.nodes.iter().chain([&twins.plain]) {
                session.run("ROLLBACK; DEALLOCATE ALL")?;
            }
        }
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n\n"));
    Ok(twins.tally)
}

/// The two sides.
struct Twins {
    nodes: Vec<Session>,
    plain: Session,
    /// What has been done.
    story: Vec<String>,
    tally: Tally,
}

impl Twins {
    fn begin(&self) -> anyhow::Result<()> {
        for session in self.nodes.iter().chain([&self.plain]) {
            session.run("SET client_min_messages = warning; SET statement_timeout = '50s'")?;
        }
        self.nodes.iter().try_for_each(|node| node.run("SET shardman.broadcast_ddl = on"))?;
        for sql in CREATE_TYPES.iter().chain(CREATE_FUNCTIONS) {
            self.nodes[0].run(sql)?;
            self.plain.run(sql)?;
        }
        Ok(())
    }

    fn run_seed(&mut self, seed: u64, n_statements: usize) -> anyhow::Result<()> {
        let mut prng = Prng::new(seed);
        let key_type = *prng.pick(KeyType::ALL);
        self.story = Vec::new();
        for (session, is_sharded) in [(&self.nodes[0], true), (&self.plain, false)] {
            session.run("DROP VIEW IF EXISTS seen; DROP TABLE IF EXISTS b; DROP TABLE IF EXISTS a; DROP TABLE IF EXISTS c")?;
            create(is_sharded, key_type).iter().try_for_each(|sql| session.run(sql))?;
        }
        self.story = create(true, key_type);
        let mut done = 0;
        while done < n_statements {
            let node = prng.below(self.nodes.len());
            let present = Present::of(&self.plain, key_type)?;
            match self.draw(&mut prng, &present) {
                Drawn::Ddl(sql) => {
                    done += 1;
                    if self.step(node, &sql)? {
                        self.look(&mut prng, true)?;
                    }
                }
                Drawn::Rows(sql) => {
                    done += 1;
                    if self.step(node, &sql)? {
                        self.look(&mut prng, false)?;
                    }
                }
                Drawn::Script(all) if all[0].starts_with("BEGIN") => {
                    done += self.transaction(node, &all[0], &mut prng, key_type)?;
                    self.look(&mut prng, true)?;
                }
                Drawn::Script(all) => {
                    done += all.len();
                    for sql in all {
                        self.step(node, &sql)?;
                    }
                    self.look(&mut prng, false)?;
                }
            }
        }
        Ok(())
    }

    fn draw(&self, prng: &mut Prng, present: &Present) -> Drawn {
        match prng.below(20) {
            0..=6 => Drawn::Ddl(draw_ddl(prng, present)),
            7..=14 => Drawn::Rows(draw_change(prng, present)),
            15 | 16 => Drawn::Rows(draw_read(prng, present)),
            17 => Drawn::Script(prepared(prng, present)),
            _ => {
                let level = *prng.pick(&["", "", " ISOLATION LEVEL REPEATABLE READ"]);
                Drawn::Script(vec![format!("BEGIN{level}")])
            }
        }
    }

    /// A transaction with savepoints and cursors; how many statements it had.
    fn transaction(
        &mut self,
        node: usize,
        begin: &str,
        prng: &mut Prng,
        key_type: KeyType,
    ) -> anyhow::Result<usize> {
        self.step(node, begin)?;
        let (mut savepoints, mut count) = (0, 2);
        for _ in 0..prng.between(2, 7) {
            count += 1;
            let present = Present::of(&self.plain, key_type)?;
            let all = match prng.below(9) {
                0 => {
                    savepoints += 1;
                    vec![format!("SAVEPOINT s{savepoints}")]
                }
                1 if savepoints > 0 => vec![format!("ROLLBACK TO s{savepoints}")],
                2 if savepoints > 0 => {
                    savepoints -= 1;
                    vec![format!("RELEASE s{}", savepoints + 1)]
                }
                3 => cursor(prng, &present, count),
                4 => vec![draw_ddl(prng, &present)],
                5 => vec![draw_read(prng, &present)],
                6 if prng.one_in(3) => vec!["SET CONSTRAINTS ALL DEFERRED".to_owned()],
                _ => vec![draw_change(prng, &present)],
            };
            for sql in all {
                if self.step(node, &sql)? {
                    continue;
                }
                if savepoints == 0 {
                    self.step(node, "ROLLBACK")?;
                    return Ok(count);
                }
                self.step(node, &format!("ROLLBACK TO s{savepoints}"))?;
                break;
            }
            self.same(node, ROWS)?;
        }
        let end = *prng.pick(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]);
        self.step(node, end)?;
        Ok(count)
    }

    /// Runs a statement on both sides; whether it succeeded.
    fn step(&mut self, node: usize, sql: &str) -> anyhow::Result<bool> {
        self.story.push(format!("{sql} -- node {}", node + 1));
        let is_done = self.same(node, sql)?;
        self.tally.drawn += 1;
        self.tally.succeeded += usize::from(is_done);
        if std::env::var_os("SHARDMAN_RANDOM_FAILURES").is_some() && !is_done {
            eprintln!("fails on both sides: {sql}: {:?}", outcome(&self.plain, sql)?);
        }
        Ok(is_done)
    }

    /// Compares what a statement gives; whether it succeeded.
    fn same(&self, node: usize, sql: &str) -> anyhow::Result<bool> {
        let (got, wanted) = (outcome(&self.nodes[node], sql)?, outcome(&self.plain, sql)?);
        ensure!(got == wanted, "{sql}\nnode {}: {got:?}\nplain: {wanted:?}", node + 1);
        Ok(matches!(got, Outcome::Done(_)))
    }

    /// Compares rows, and what tools read of the schema, through some node.
    fn look(&self, prng: &mut Prng, is_ddl: bool) -> anyhow::Result<()> {
        let reader = prng.below(self.nodes.len());
        ensure!(self.same(reader, ROWS)?, "the tables cannot be read");
        if is_ddl {
            for sql in INTROSPECTION {
                ensure!(self.same(reader, sql)?, "the catalog cannot be read");
            }
        }
        Ok(())
    }
}

/// All rows of all tables.
const ROWS: &str = "SELECT 'a', * FROM a; SELECT 'b', * FROM b; SELECT 'c', * FROM c";

/// A cursor that is read from, within a transaction.
fn cursor(prng: &mut Prng, present: &Present, number: usize) -> Vec<String> {
    let scroll = *prng.pick(&["", "SCROLL ", "NO SCROLL "]);
    let mut all =
        vec![format!("DECLARE q{number} {scroll}CURSOR FOR {}", draw_ordered(prng, present))];
    for _ in 0..prng.between(1, 4) {
        let ways: &[&str] = match scroll {
            "SCROLL " => &["NEXT", "3", "BACKWARD 2", "LAST", "FIRST", "RELATIVE -1", "ALL"],
            _ => &["NEXT", "3", "FORWARD 2", "ALL"],
        };
        let verb = *prng.pick(&["FETCH", "FETCH", "MOVE"]);
        all.push(format!("{verb} {} FROM q{number}", prng.pick::<&str>(ways)));
    }
    if prng.one_in(2) {
        all.push(format!("CLOSE q{number}"));
    }
    all
}

/// A prepared statement that meets a change of the schema, and is run on both
/// sides of it often enough for a plan that does not know its parameters.
fn prepared(prng: &mut Prng, present: &Present) -> Vec<String> {
    let table = present.table(prng);
    let (name, key) = (table.name, table.key[0]);
    let key_type = if name == "c" { "text" } else { present.key_type.name() };
    let query = match prng.below(4) {
        0 => format!("SELECT {} FROM {name} WHERE {key} = $1", table.key.join(", ")),
        1 => format!("SELECT count(*) FROM {name} WHERE {key} <> $1"),
        2 => format!("SELECT * FROM {name} WHERE {key} = $1"),
        _ => format!("DELETE FROM {name} WHERE {key} = $1 AND {key} IS NULL RETURNING {key}"),
    };
    let mut all = vec![format!("PREPARE p ({key_type}) AS {query}")];
    let execute = |prng: &mut Prng| match table.keys.is_empty() {
        true => "EXECUTE p (NULL)".to_owned(),
        false => format!("EXECUTE p ({})", prng.pick(&table.keys)[0]),
    };
    for _ in 0..prng.between(1, 7) {
        all.push(execute(prng));
    }
    all.push(draw_ddl(prng, present));
    for _ in 0..2 {
        all.push(execute(prng));
    }
    all.push("DEALLOCATE p".to_owned());
    all
}
