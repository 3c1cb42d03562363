//! Point statements that are planned past the partition planner.

use anyhow::Context;
use regress::TestCluster;

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
