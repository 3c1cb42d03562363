//! INSERT … ON CONFLICT over partitions of several nodes: rows, counts and errors
//! are those of a plain table.

use regress::{Session, TestCluster, db_error};

/// What a statement gives: rows and how many it says it wrote, or an SQLSTATE.
#[derive(Debug, PartialEq)]
enum Outcome {
    Rows(Vec<Vec<Option<String>>>),
    Error(String),
}

fn outcome(session: &Session, sql: &str) -> anyhow::Result<Outcome> {
    match session.rows(sql) {
        Ok(mut rows) => {
            rows.sort();
            Ok(Outcome::Rows(rows))
        }
        Err(error) => match db_error(&error) {
            Some(db) => Ok(Outcome::Error(db.code().code().to_owned())),
            None => Err(error),
        },
    }
}

/// `{t}` is the table. Each runs through every node; rows stay from one to the next.
const STATEMENTS: &[&str] = &[
    "INSERT INTO {t} SELECT i, i, 's' || i, 'ok' FROM generate_series(1, 30) AS i ON CONFLICT DO NOTHING RETURNING *",
    "INSERT INTO {t} SELECT i, -i, 'n' FROM generate_series(20, 40) AS i ON CONFLICT (id) DO NOTHING RETURNING id",
    "INSERT INTO {t} SELECT i, 100 + i, 'n', 'sad' FROM generate_series(5, 45) AS i
         ON CONFLICT (id) DO UPDATE SET v = {t}.v + EXCLUDED.v, m = EXCLUDED.m WHERE {t}.id % 2 = 0 RETURNING *",
    "INSERT INTO {t} VALUES (1, 1, 'x'), (2, 2, 'y'), (50, 3, 'z')
         ON CONFLICT ON CONSTRAINT {t}_pkey DO UPDATE SET s = EXCLUDED.s || {t}.s, m = DEFAULT",
    "INSERT INTO {t} VALUES (1, 1, 'S1'), (2, 2, 'S2'), (3, 3, 'S3') ON CONFLICT (id, lower(s)) DO UPDATE SET s = 'by expression'",
    "INSERT INTO {t} SELECT i, 200 + i FROM generate_series(60, 66) AS i ON CONFLICT (id, v) WHERE v > 100 DO UPDATE SET s = 'by part'",
    "INSERT INTO {t} SELECT i, 200 + i FROM generate_series(60, 66) AS i ON CONFLICT (v) DO UPDATE SET s = ''",
    "WITH w AS (INSERT INTO {t} SELECT i, 1 FROM generate_series(1, 9) AS i ON CONFLICT (id) DO UPDATE SET v = 9 RETURNING id, v)
         SELECT sum(v), count(*) FROM w",
    "INSERT INTO {t} (id, v) SELECT id + 1, v FROM {t} ON CONFLICT (id) DO UPDATE SET (v, s) = (EXCLUDED.v + 1, 'from itself')",
    "INSERT INTO {t} AS target VALUES (7, 7), (8, 8), (9, 9)
         ON CONFLICT (id) DO UPDATE SET v = target.v + (SELECT count(*) FROM {t}), s = current_date::text RETURNING target.v, s = current_date::text",
    "BEGIN; INSERT INTO {t} VALUES (1), (2), (3), (4) ON CONFLICT (id) DO UPDATE SET v = 1;
     INSERT INTO {t} VALUES (1), (2), (3), (4) ON CONFLICT (id) DO UPDATE SET v = {t}.v + 1 RETURNING v; COMMIT",
    "INSERT INTO {t} VALUES (1, 5), (1, 6) ON CONFLICT (id) DO NOTHING",
    // Whether the row is new, as applications ask; for rows of one node.
    "INSERT INTO {t} VALUES (5, 5) ON CONFLICT (id) DO UPDATE SET v = 5 RETURNING xmax = 0, xmin IS NULL",
    "INSERT INTO {t} VALUES (6, 5) ON CONFLICT (id) DO UPDATE SET v = 5 RETURNING xmax = 0",
    "INSERT INTO {t} VALUES (81, 5) ON CONFLICT (id) DO UPDATE SET v = 5 RETURNING xmax = 0",
    "INSERT INTO {t} VALUES (82, 5) ON CONFLICT (id) DO UPDATE SET v = 5 RETURNING xmax = 0",
    "DO $$ DECLARE x xid; n int; BEGIN FOR i IN 81..86 LOOP
         INSERT INTO {t} VALUES (i, 0) ON CONFLICT (id) DO UPDATE SET v = 0;
         SELECT xmin INTO x FROM {t} WHERE id = i;
         UPDATE {t} SET v = 1 WHERE id = i AND xmin = x; GET DIAGNOSTICS n = ROW_COUNT;
         IF n <> 1 THEN RAISE 'not found by xmin'; END IF; END LOOP; END $$",
    // No row twice: within a request, between requests, among new rows, under RETURNING.
    "INSERT INTO {t} VALUES (1, 5), (1, 6) ON CONFLICT (id) DO UPDATE SET v = 5",
    "INSERT INTO {t} VALUES (2, 5), (2, 6) ON CONFLICT (id) DO UPDATE SET v = 5 RETURNING id",
    "INSERT INTO {t} VALUES (3, 5), (3, 6) ON CONFLICT (id) DO UPDATE SET v = 5 RETURNING id",
    "INSERT INTO {t} VALUES (4, 5), (4, 6) ON CONFLICT (id) DO UPDATE SET v = 5 RETURNING id",
    "INSERT INTO {t} VALUES (91, 5), (91, 6) ON CONFLICT (id) DO UPDATE SET v = 5 WHERE false",
    "INSERT INTO {t} VALUES (92, 5), (92, 6) ON CONFLICT (id) DO UPDATE SET v = 5 WHERE false",
    "INSERT INTO {t} VALUES (93, 5), (93, 6) ON CONFLICT (id) DO UPDATE SET v = 5 WHERE false",
    "INSERT INTO {t} SELECT i % 9000, 1 FROM generate_series(1, 18000) AS i ON CONFLICT (id) DO UPDATE SET v = 3",
    // What the row must still obey.
    "INSERT INTO {t} SELECT i, 1 FROM generate_series(1, 9) AS i ON CONFLICT (id) DO UPDATE SET v = -1000",
    "INSERT INTO {t} SELECT i, 1 FROM generate_series(1, 9) AS i ON CONFLICT (id) DO UPDATE SET v = 1 / (EXCLUDED.id - 5)",
    "ALTER TABLE {t} DROP COLUMN s; ALTER TABLE {t} ADD COLUMN s2 text DEFAULT 'q', ADD COLUMN twice int GENERATED ALWAYS AS (v * 2) STORED",
    "INSERT INTO {t} AS x (id, v, s2) SELECT i, 4, 'k' FROM generate_series(1, 12) AS i
         ON CONFLICT (id) DO UPDATE SET s2 = EXCLUDED.s2, v = x.v + EXCLUDED.v RETURNING x.*",
];

#[test]
fn upserts_mean_the_same_as_on_a_plain_table() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
    nodes[0].run("SET shardman.broadcast_ddl = on; CREATE TYPE mood AS ENUM ('sad', 'ok'); RESET shardman.broadcast_ddl")?;
    // A table for each node, so that it begins like the plain one.
    for (at, node) in nodes.iter().enumerate() {
        let sharded = format!("s{at}");
        let plain = format!("p{at}");
        for (table, options) in
            [(&sharded, " WITH (distributed_by = 'id', num_parts = 6)"), (&plain, "")]
        {
            node.run(&format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, v int CHECK (v > -500), s text, m mood DEFAULT 'sad'){options};
                 CREATE UNIQUE INDEX ON {table} (id, lower(s)); CREATE UNIQUE INDEX ON {table} (id, v) WHERE v > 100"
            ))?;
        }
        for template in STATEMENTS {
            let [got, wanted] = [&sharded, &plain].map(|table| -> anyhow::Result<_> {
                let came = outcome(node, &template.replace("{t}", table))?;
                node.run("ROLLBACK")?;
                Ok((came, outcome(node, &format!("SELECT * FROM {table}"))?))
            });
            let (got, wanted) = (got?, wanted?);
            anyhow::ensure!(
                got == wanted,
                "through node {}: {template}\n{got:?}\n{wanted:?}",
                at + 1
            );
        }
    }
    // The count that a client is told.
    nodes[1].run(
        "DO $$ DECLARE n int; BEGIN
             INSERT INTO s0 SELECT i, 1 FROM generate_series(1, 3000) AS i ON CONFLICT (id) DO UPDATE SET v = 3 WHERE s0.id > 20;
             GET DIAGNOSTICS n = ROW_COUNT;
             IF n <> 3000 - (SELECT count(*) FROM s0 WHERE id <= 20) THEN RAISE EXCEPTION 'counted %', n; END IF;
         END $$",
    )?;
    Ok(())
}

#[test]
fn what_another_node_could_not_evaluate_is_refused_with_the_reason() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let node = cluster.session(1)?;
    node.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 4);
         INSERT INTO t SELECT generate_series(1, 20)",
    )?;
    for value in ["random()::int", "(SELECT t.v + 1)"] {
        let error = node.failure(&format!(
            "INSERT INTO t SELECT generate_series(1, 20) ON CONFLICT (id) DO UPDATE SET v = {value}"
        ))?;
        assert_eq!(error.code().code(), "0A000", "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("EXCLUDED")), "{error:?}");
    }
    Ok(())
}
