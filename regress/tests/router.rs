//! Point statements that are planned past the partition planner.

use anyhow::Context;
use regress::{TestCluster, key_on_node};

/// Types of keys, and expressions over `g` for their values.
const KEYS: &[(&str, &str)] = &[
    ("int", "g * 7919"),
    ("smallint", "g - 20"),
    ("bigint", "g * 10000000019::bigint"),
    ("text", "'key ' || g"),
    ("varchar(20)", "'v' || g"),
    ("char(8)", "'c' || g"),
    ("numeric", "g / 8.0"),
    ("uuid", "md5(g::text)::uuid"),
    ("date", "'2000-01-01'::date + g"),
    ("timestamptz", "'2000-01-01 00:00Z'::timestamptz + g * interval '1 hour'"),
    ("bytea", "decode(md5(g::text), 'hex')"),
    ("float8", "g / 4.0"),
    ("boolean", "g % 2 = 0"),
];

#[test]
fn the_partition_is_the_one_that_postgresql_hashes_to() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE FUNCTION partition_of(query text) RETURNS int LANGUAGE plpgsql AS $$
         DECLARE line text; is_routed bool := false;
         BEGIN
             FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
                 is_routed := is_routed OR line LIKE '%Custom Scan (Router)%';
                 IF is_routed AND line ~ 'shard_\\d+_keys_\\d+' THEN
                     RETURN (regexp_match(line, 'shard_\\d+_keys_(\\d+)'))[1];
                 END IF;
             END LOOP;
             RAISE 'not routed: %', query;
         END $$",
    )?;
    for (kind, value) in KEYS {
        one.run(&format!(
            "CREATE TABLE keys (k {kind}, v int) WITH (distributed_by = 'k', num_parts = 7)"
        ))?;
        let wrong = one.rows(&format!(
            "SELECT g, chosen, expected
             FROM generate_series(1, 40) AS g,
                  LATERAL (SELECT ({value})::{kind} AS k) AS value,
                  LATERAL (SELECT partition_of(format('SELECT v FROM keys WHERE k = %L', k)) AS chosen) AS c,
                  LATERAL (SELECT r AS expected FROM generate_series(0, 6) AS r
                           WHERE satisfies_hash_partition('keys'::regclass, 7, r, k)) AS e
             WHERE chosen IS DISTINCT FROM expected"
        ))?;
        anyhow::ensure!(wrong.is_empty(), "{kind}: {wrong:?}");
        one.run("DROP TABLE keys")?;
    }
    // A value of another type in the same operator family hashes with its own function.
    one.run("CREATE TABLE keys (k bigint, v int) WITH (distributed_by = 'k', num_parts = 7)")?;
    for kind in ["smallint", "int", "bigint"] {
        let wrong = one.rows(&format!(
            "SELECT g FROM generate_series(-20, 20) AS g
             WHERE NOT satisfies_hash_partition('keys'::regclass, 7,
                 partition_of(format('SELECT v FROM keys WHERE k = %L::{kind}', g)), g::bigint)"
        ))?;
        anyhow::ensure!(wrong.is_empty(), "bigint = {kind}: {wrong:?}");
    }
    Ok(())
}

#[test]
fn a_kept_plan_locks_the_table_and_no_partition_that_it_does_not_read() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 48);
         INSERT INTO t SELECT g, 0 FROM generate_series(1, 200) g;
         SET plan_cache_mode = force_generic_plan;
         PREPARE get (int) AS SELECT v FROM t WHERE id = $1;
         PREPARE put (int) AS UPDATE t SET v = v + 1 WHERE id = $1",
    )?;
    for id in 1..=12 {
        for statement in ["get", "put"] {
            one.run(&format!("EXECUTE {statement} ({id}); BEGIN; EXECUTE {statement} ({id})"))?;
            let locks = one.rows(
                "SELECT DISTINCT relation::regclass FROM pg_locks
                 WHERE pid = pg_backend_pid() AND locktype = 'relation'
                   AND relation::regclass::text ~ '(^|\\.)(t|shard_\\d+_t_\\d+)$'",
            )?;
            one.run("COMMIT")?;
            let partitions = locks.len().checked_sub(1).context("the table is not locked")?;
            anyhow::ensure!(partitions <= 1, "{statement} {id} locks {locks:?}");
        }
    }
    Ok(())
}

#[test]
fn explain_tells_what_is_routed_and_what_kept_a_point_statement_from_it() -> anyhow::Result<()> {
    const ROUTED: &[&str] = &[
        "SELECT * FROM both_of WHERE id = 1",
        "SELECT * FROM sums WHERE id = 2",
        "SELECT * FROM small WHERE id = 3 AND v = 4",
        "WITH x AS (SELECT * FROM t WHERE id = 4) SELECT * FROM x JOIN item USING (id)",
        "SELECT v, (SELECT max(n) FROM item i WHERE i.id = t.id) FROM t WHERE id = 5",
        "SELECT v FROM t WHERE id = 6 AND EXISTS (SELECT FROM item i WHERE i.id = t.id)",
        "SELECT id FROM t WHERE id = 7 UNION ALL SELECT n FROM item WHERE id = 7",
        "UPDATE t SET v = (SELECT sum(n) FROM item i WHERE i.id = t.id) WHERE id = 8",
        "UPDATE small SET v = 1 WHERE id = 8",
        "DELETE FROM t WHERE id = 9",
        "INSERT INTO item SELECT id, 9 FROM t WHERE id = 9",
        "INSERT INTO item VALUES (1, 7), (1, 8), (1, 9)",
        "INSERT INTO item (n) VALUES (7), (8)",
        "INSERT INTO numbered (v) VALUES ('x') RETURNING id, n",
        "INSERT INTO numbered (v) VALUES ('x') ON CONFLICT (id) DO UPDATE SET v = 'y' RETURNING id, xmax = 0",
        "SELECT id, v, xmin, ctid FROM t WHERE id = 1",
        "UPDATE t SET v = 1 WHERE id = 8 AND xmin = '1000' RETURNING xmin",
        "SELECT * FROM guarded WHERE tenant = 3",
        "SELECT body FROM guarded",
        "UPDATE guarded SET body = 'x'",
        "INSERT INTO guarded VALUES (3, 'x')",
        "INSERT INTO guarded VALUES (3, 'x') ON CONFLICT (tenant) DO UPDATE SET body = 'y'",
    ];
    const NOT: &[(&str, &str)] = &[
        (
            "WITH RECURSIVE r AS (SELECT 1 AS i UNION SELECT i + 1 FROM r WHERE i < 3) SELECT v FROM t, r WHERE id = 1",
            "recursive",
        ),
        ("SELECT v FROM t WHERE id = 1 AND v > (SELECT avg(v) FROM t)", "not fixed"),
        ("SELECT a.v FROM t a JOIN t b ON a.id = 1 AND b.id = 2", "different values"),
        ("SELECT * FROM small WHERE id = 3 AND 1 / v > 0", "row security"),
        ("SELECT * FROM small WHERE id = 3 AND v::text LIKE pg_temp.tell(v)", "row security"),
        ("UPDATE t SET id = 2 WHERE id = 1", "assigns to a distribution column"),
        ("INSERT INTO said VALUES (1)", "transition tables"),
        ("SELECT * FROM t JOIN plain USING (v) WHERE id = 1", "more than sharded"),
        ("SELECT tableoid FROM t WHERE id = 1", "system column"),
        ("WITH d AS (DELETE FROM t WHERE id = 1 RETURNING *) SELECT * FROM d", "writes"),
    ];
    let cluster = TestCluster::up(3)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 6);
         CREATE TABLE item (id int DEFAULT 5, n int, PRIMARY KEY (id, n))
             WITH (distributed_by = 'id', colocate_with = 't');
         CREATE TABLE guarded (tenant int PRIMARY KEY, body text)
             WITH (distributed_by = 'tenant', num_parts = 6);
         CREATE TABLE numbered (id bigserial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY,
                                at timestamptz DEFAULT clock_timestamp(), chance float8 DEFAULT random(), v text)
             WITH (distributed_by = 'id', num_parts = 6);
         CREATE TABLE said (id int) WITH (distributed_by = 'id', num_parts = 6);
         CREATE TABLE plain (v int);
         CREATE VIEW both_of AS SELECT id, v, n FROM t JOIN item USING (id);
         CREATE VIEW sums AS SELECT id, sum(n) AS s FROM item GROUP BY id;
         CREATE VIEW small WITH (security_barrier) AS SELECT id, v FROM t WHERE v < 10;
         CREATE FUNCTION pg_temp.tell(int) RETURNS text LANGUAGE sql AS 'SELECT $1::text'",
    )?;
    let everywhere = "CREATE ROLE tenant; CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql
                      AS 'BEGIN RETURN NULL; END'";
    for node in 1..=3 {
        cluster.session(node)?.run(everywhere)?;
    }
    one.run(
        "CREATE TRIGGER say AFTER INSERT ON said REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION say();
         CREATE TRIGGER tell AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION say();
         ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON guarded USING (tenant = current_setting('app.tenant')::int);
         GRANT ALL ON t, item, guarded, said, numbered TO tenant;
         GRANT ALL ON plain, both_of, sums, small TO tenant;
         SET app.tenant = 3; SET ROLE tenant",
    )?;
    let explained = |options: &str, sql: &str| -> anyhow::Result<String> {
        let rows = one.rows(&format!("EXPLAIN ({options}) {sql}"))?;
        Ok(rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n"))
    };
    for sql in ROUTED {
        let plan = explained("COSTS OFF", sql)?;
        anyhow::ensure!(plan.contains("Custom Scan (Router)"), "{sql}:\n{plan}");
    }
    for (sql, reason) in NOT {
        for options in ["COSTS OFF", "FORMAT JSON", "FORMAT XML", "FORMAT YAML"] {
            let plan = explained(options, sql)?;
            let line = plan.lines().find(|line| line.contains("Not") && line.contains("Routed"));
            anyhow::ensure!(line.is_some_and(|l| l.contains(reason)), "{sql}:\n{plan}");
            if options == "FORMAT JSON" {
                let plan: serde_json::Value = serde_json::from_str(&plan)?;
                anyhow::ensure!(plan[0]["Not Routed"].is_string() && plan[0]["Plan"].is_object());
            }
        }
    }
    // What is no point statement does not make anybody wonder.
    let plan = explained("COSTS OFF", "SELECT count(*) FROM t")?;
    anyhow::ensure!(!plan.contains("Routed"), "{plan}");
    Ok(())
}

#[test]
fn cursors_and_window_functions_are_routed_and_read_what_a_plain_table_would_give()
-> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE t (id int, n int, v int, PRIMARY KEY (id, n)) WITH (distributed_by = 'id', num_parts = 4);
         INSERT INTO t SELECT i, n, n * 10 FROM generate_series(1, 20) AS i, generate_series(1, 250) AS n",
    )?;
    for id in [key_on_node(&cluster, "t", 1)?, key_on_node(&cluster, "t", 2)?] {
        for query in [
            "SELECT n, row_number() OVER w, sum(v) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t
                 WHERE id = {id} AND n < 9 WINDOW w AS (PARTITION BY n % 3 ORDER BY n DESC) ORDER BY n",
            "SELECT n % 2, n % 3, grouping(n % 2), sum(v) FROM t WHERE id = {id} GROUP BY CUBE (n % 2, n % 3) ORDER BY 1, 2, 3",
        ] {
            let query = query.replace("{id}", &id.to_string());
            let plan = one.rows(&format!("EXPLAIN {query}"))?;
            anyhow::ensure!(format!("{plan:?}").contains("Router"), "{query}: {plan:?}");
            let routed = one.rows(&query)?;
            one.run("SET shardman.enable_router = off")?;
            anyhow::ensure!(routed == one.rows(&query)?, "{query}: {routed:?}");
            one.run("RESET shardman.enable_router")?;
        }
        let declare =
            format!("DECLARE c SCROLL CURSOR FOR SELECT n, v FROM t WHERE id = {id} ORDER BY n");
        let plan = one.rows(&format!("EXPLAIN {declare}"))?;
        anyhow::ensure!(format!("{plan:?}").contains("Router"), "{declare}: {plan:?}");
        // What is written after it was opened it does not see.
        one.run(&format!(
            "BEGIN; {declare}; DECLARE later NO SCROLL CURSOR FOR SELECT sum(v), count(*) FROM t WHERE id = {id};
             UPDATE t SET v = -1 WHERE id = {id}; DELETE FROM t WHERE id = {id} AND n > 100"
        ))?;
        let fetched = |what: &str| -> anyhow::Result<Vec<i64>> {
            let rows = one.rows(&format!("FETCH {what}"))?;
            rows.iter().map(|row| Ok(row[0].as_ref().context("NULL")?.parse()?)).collect()
        };
        anyhow::ensure!(fetched("2 FROM c")? == [1, 2]);
        anyhow::ensure!(fetched("BACKWARD 1 FROM c")? == [1]);
        anyhow::ensure!(fetched("LAST FROM c")? == [250]);
        anyhow::ensure!(fetched("ABSOLUTE 120 FROM c")? == [120]);
        anyhow::ensure!(fetched("FIRST FROM c")? == [1]);
        anyhow::ensure!(
            one.rows("FETCH ALL FROM c")?.iter().all(|row| row[1] != Some("-1".to_owned()))
        );
        anyhow::ensure!(fetched("later")? == [10 * 250 * 251 / 2]);
        one.run("ROLLBACK")?;
        // Rows that outlive the transaction.
        one.run(&format!(
            "BEGIN; DECLARE kept SCROLL CURSOR WITH HOLD FOR SELECT n FROM t WHERE id = {id} ORDER BY n; FETCH 3 FROM kept; COMMIT"
        ))?;
        anyhow::ensure!(fetched("kept")? == [4]);
        anyhow::ensure!(fetched("FIRST FROM kept")? == [1]);
        one.run("CLOSE kept")?;
    }
    Ok(())
}

#[test]
fn triggers_for_statements_fire_once_on_the_node_that_was_asked() -> anyhow::Result<()> {
    /// With what is then noted: when, on what, and how many rows there are at the end.
    const STATEMENTS: &[(&str, &str)] = &[
        ("INSERT INTO t VALUES ({id}, 1)", "BEFORE INSERT, AFTER INSERT"),
        ("INSERT INTO t VALUES ({id}, 1) ON CONFLICT DO NOTHING", "BEFORE INSERT, AFTER INSERT"),
        (
            "INSERT INTO t VALUES ({id}, 1) ON CONFLICT (id) DO UPDATE SET v = 2 RETURNING v",
            "BEFORE INSERT, BEFORE UPDATE, AFTER UPDATE, AFTER INSERT",
        ),
        ("UPDATE t SET v = 3 WHERE id = {id} RETURNING *", "BEFORE UPDATE, AFTER UPDATE"),
        ("UPDATE t SET v = 3 WHERE id = {id} AND v = 0", "BEFORE UPDATE, AFTER UPDATE"),
        (
            "MERGE INTO t USING (VALUES ({id})) AS v (id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET v = 4 WHEN NOT MATCHED THEN INSERT VALUES (v.id)",
            "BEFORE INSERT, BEFORE UPDATE, AFTER UPDATE, AFTER INSERT",
        ),
        (
            "MERGE INTO t USING generate_series(1, 9) AS i ON t.id = i WHEN MATCHED THEN DELETE",
            "BEFORE DELETE, AFTER DELETE",
        ),
        ("DELETE FROM t WHERE id = {id}", "BEFORE DELETE, AFTER DELETE"),
    ];
    let cluster = TestCluster::up(2)?;
    let one = cluster.session(1)?;
    one.run(
        "SET shardman.broadcast_ddl = on;
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 PERFORM set_config('my.noted', concat_ws(', ', NULLIF(current_setting('my.noted', true), ''), TG_WHEN || ' ' || TG_OP), false);
                 RETURN NULL;
             END $$;
         CREATE TABLE t (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 4);
         CREATE TRIGGER first BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION note();
         CREATE TRIGGER last AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION note()",
    )?;
    for id in [key_on_node(&cluster, "t", 1)?, key_on_node(&cluster, "t", 2)?] {
        for (statement, wanted) in STATEMENTS {
            let statement = statement.replace("{id}", &id.to_string());
            let plan = one.rows(&format!("EXPLAIN {statement}"))?;
            anyhow::ensure!(format!("{plan:?}").contains("Router"), "{statement}: {plan:?}");
            one.run("SET my.noted = ''")?;
            one.run(&statement)?;
            let noted = one.value("SELECT current_setting('my.noted')")?;
            anyhow::ensure!(noted == *wanted, "{statement}: {noted}");
        }
    }
    Ok(())
}
