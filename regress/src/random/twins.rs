//! The same schema changes and changes of rows on a cluster and on one
//! PostgreSQL: rows, counts, errors, and what tools read of the schema.

use anyhow::ensure;

use super::draw_ddl::{create, draw};
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
     WHERE a.attrelid IN ('a'::regclass, 'b'::regclass) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2",
    "SELECT table_name, table_type, is_insertable_into FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
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

/// Runs `n_statements` of each seed through nodes drawn at random, as long as
/// `goes_on`; an error at the first difference, with what led to it.
pub fn compare_with_plain(
    cluster: &TestCluster,
    plain: &TestCluster,
    first: u64,
    n_statements: usize,
    mut goes_on: impl FnMut(u64) -> bool,
) -> anyhow::Result<()> {
    let count = cluster.count()?;
    let nodes = (1..=count).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
    let plain = plain.session(1)?;
    for seed in (first..).take_while(|seed| goes_on(*seed)) {
        let mut prng = Prng::new(seed);
        for session in nodes.iter().chain([&plain]) {
            session.run("SET client_min_messages = warning; SET statement_timeout = '30s'")?;
        }
        for (session, is_sharded) in [(&nodes[0], true), (&plain, false)] {
            session.run("DROP TABLE IF EXISTS b; DROP TABLE IF EXISTS a")?;
            create(is_sharded).iter().try_for_each(|sql| session.run(sql))?;
        }
        let mut story = create(true);
        for _ in 0..n_statements {
            let node = prng.below(nodes.len());
            let (sql, is_ddl) = draw(&mut prng);
            story.push(format!("{sql} -- node {}", node + 1));
            let told = || format!("seed {seed}:\n{};", story.join(";\n"));
            let same = |session: &Session, sql: &str| -> anyhow::Result<bool> {
                let (got, wanted) = (outcome(session, sql)?, outcome(&plain, sql)?);
                ensure!(got == wanted, "{sql}\ncluster: {got:?}\nplain: {wanted:?}\n{}", told());
                Ok(matches!(got, Outcome::Done(_)))
            };
            let is_done = same(&nodes[node], &sql).map_err(|error| error.context(told()))?;
            if !is_done {
                continue;
            }
            let reader = &nodes[prng.below(nodes.len())];
            for sql in ["SELECT * FROM a", "SELECT * FROM b"] {
                same(reader, sql)?;
            }
            if is_ddl {
                for sql in INTROSPECTION {
                    same(reader, sql)?;
                }
            }
        }
    }
    Ok(())
}
