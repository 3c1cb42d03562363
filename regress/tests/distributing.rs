//! Ordinary tables become sharded ones with everything that they have.

use regress::{TestCluster, schemas_are_equal};

#[test]
fn a_filled_table_keeps_all_that_it_has() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let sessions = [cluster.session(1)?, cluster.session(2)?, cluster.session(3)?];
    let [one, two, three] = &sessions;
    one.run(
        "SET shardman.broadcast_ddl = on;
         CREATE ROLE keeper; CREATE ROLE reader; GRANT CREATE ON SCHEMA public TO keeper;
         CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN NEW.note := coalesce(NEW.note, '') || '!'; RETURN NEW; END $$;
         SET shardman.broadcast_ddl = off;
         CREATE TABLE t (id bigserial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, gone int, v int NOT NULL CHECK (v >= 0),
                         twice int GENERATED ALWAYS AS (v * 2) STORED, note text COLLATE \"C\", UNIQUE (id, v));
         ALTER TABLE t DROP COLUMN gone;
         CREATE INDEX t_v ON t (v) WHERE v > 5;
         INSERT INTO t (v, note) SELECT g, 'row ' || g FROM generate_series(1, 3000) g;
         CREATE TRIGGER noting BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION noted();
         COMMENT ON TABLE t IS 'kept'; COMMENT ON COLUMN t.v IS 'kept too'; COMMENT ON SEQUENCE t_id_seq IS 'numbers';
         GRANT SELECT ON t TO reader; GRANT USAGE ON SEQUENCE t_id_seq TO reader;
         ALTER TABLE t ALTER COLUMN v SET STATISTICS 17;
         CREATE POLICY visible ON t TO reader USING (v < 100);
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
         ALTER TABLE t OWNER TO keeper",
    )?;
    let sum = "SELECT count(*) || ' ' || sum(id) || ' ' || sum(n) || ' ' || sum(twice) || ' ' || count(DISTINCT note) FROM t";
    let before = one.value(sum)?;
    // What fails leaves everything as it was.
    assert_eq!(one.failure("SELECT shardman.distribute_table('t', 'v')")?.code().code(), "0A000");
    assert_eq!(
        one.failure("SELECT shardman.distribute_table('t', 'none')")?.code().code(),
        "42703"
    );
    one.run("BEGIN; SELECT shardman.distribute_table('t', 'id', 4); ROLLBACK")?;
    assert_eq!(one.value(sum)?, before);
    assert_eq!(one.value("SELECT relkind FROM pg_class WHERE oid = 't'::regclass")?, "r");
    one.run("SELECT shardman.distribute_table('t', 'id', 6)")?;
    schemas_are_equal(&sessions)?;
    for session in &sessions {
        assert_eq!(session.value(sum)?, before);
        let kept = "SELECT obj_description('t'::regclass) || ' ' || col_description('t'::regclass, attnum) || ' ' || attstattarget
                           || ' ' || obj_description('t_id_seq'::regclass) || ' ' || relowner::regrole || ' ' || relforcerowsecurity
                    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attrelid = 't'::regclass AND attname = 'v'";
        assert_eq!(session.value(kept)?, "kept kept too 17 numbers keeper true");
        assert_eq!(session.integer("SELECT count(*) FROM pg_class WHERE relname LIKE 'old_%'")?, 0);
        let indexes = "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE tablename = 't'";
        assert_eq!(session.value(indexes)?, "t_id_v_key t_pkey t_v");
        session.run("SET ROLE reader")?;
        assert_eq!(session.integer("SELECT count(*) FROM t")?, 99);
        session.run("RESET ROLE")?;
    }
    assert_eq!(three.integer("SELECT count(DISTINCT tableoid) FROM t")?, 6);
    // Sequences go on, triggers fire, constraints hold.
    let new = two.rows("INSERT INTO t (v, note) VALUES (1, 'new') RETURNING id, n, note")?;
    let new: Vec<_> = new[0].iter().flatten().map(String::as_str).collect();
    assert!(
        new[0].parse::<i64>()? > 3000 && new[1].parse::<i64>()? > 3000 && new[2] == "new!",
        "{new:?}"
    );
    assert_eq!(three.failure("INSERT INTO t (v) VALUES (-1)")?.code().code(), "23514");
    let twice = three.failure("INSERT INTO t (id, v) VALUES (5, 5)")?;
    assert_eq!(twice.code().code(), "23505");
    Ok(())
}

#[test]
fn tables_are_distributed_by_other_statements_and_obstacles_are_named() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let (one, two) = (cluster.session(1)?, cluster.session(2)?);
    one.run(
        "CREATE TABLE a WITH (distributed_by = 'id', num_parts = 4) AS
             SELECT g AS id, 'x' || g AS v FROM generate_series(1, 100) g;
         PREPARE rows(int) AS SELECT g AS id FROM generate_series(1, $1) g;
         CREATE TABLE b (k) WITH (distributed_by = 'k', colocate_with = 'a', fillfactor = 70) AS EXECUTE rows(30);
         CREATE TABLE c WITH (distributed_by = 'id') AS SELECT 1 AS id WITH NO DATA;
         CREATE TABLE IF NOT EXISTS c WITH (distributed_by = 'id') AS SELECT 2 AS id",
    )?;
    assert_eq!(two.value("SELECT count(*) || ' ' || max(v) FROM a")?, "100 x99");
    assert_eq!(
        two.value("SELECT count(*) || ' ' || (SELECT count(*) FROM c) FROM b JOIN a ON id = k")?,
        "30 0"
    );
    for (statement, code) in [
        ("CREATE TEMP TABLE no WITH (distributed_by = 'id') AS SELECT 1 AS id", "0A000"),
        ("CREATE UNLOGGED TABLE no WITH (distributed_by = 'id') AS SELECT 1 AS id", "0A000"),
        ("CREATE TABLE no WITH (distributed_by = 'none') AS SELECT 1 AS id", "42703"),
        ("CREATE TABLE a WITH (distributed_by = 'id') AS SELECT 1 AS id", "42P07"),
        ("SELECT shardman.distribute_table('a', 'id')", "42809"),
        ("SELECT shardman.distribute_table('pg_tables', 'schemaname')", "42809"),
        (
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT shardman.distribute_table('a', 'id')",
            "25001",
        ),
    ] {
        let error = one.failure(statement)?;
        assert_eq!(error.code().code(), code, "{statement}: {error:?}");
        one.run("ROLLBACK")?;
    }
    one.run(
        "CREATE TABLE p (id int PRIMARY KEY, v text); INSERT INTO p SELECT g, g FROM generate_series(1, 50) g;
         CREATE VIEW seen AS SELECT * FROM p; CREATE TABLE r (id int REFERENCES p)",
    )?;
    assert_eq!(one.failure("SELECT shardman.distribute_table('p', 'id')")?.code().code(), "2BP01");
    one.run("DROP VIEW seen")?;
    assert_eq!(one.failure("SELECT shardman.distribute_table('p', 'id')")?.code().code(), "2BP01");
    one.run("DROP TABLE r; SELECT shardman.create_hash_partitions('p', 'id', 5)")?;
    assert_eq!(two.value("SELECT nparts || ' ' || (SELECT count(*) FROM p) FROM shardman.sharded_tables WHERE relname = 'p'")?, "5 50");
    // LIKE takes all of it.
    two.run("CREATE TABLE source (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text DEFAULT 'd' CHECK (v <> ''), w int); CREATE INDEX ON source (w); COMMENT ON COLUMN source.w IS 'w'")?;
    two.run("CREATE TABLE l (LIKE source INCLUDING ALL, s serial) WITH (distributed_by = 'id', num_parts = 3)")?;
    one.run("INSERT INTO l (w) SELECT g FROM generate_series(1, 10) g")?;
    assert_eq!(
        two.value("SELECT count(DISTINCT id) || v || count(DISTINCT s) FROM l GROUP BY v")?,
        "10d10"
    );
    schemas_are_equal(&[one, two])
}

#[test]
fn keys_tell_their_partition() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE p (id int, name text, PRIMARY KEY (id, name)) WITH (distributed_by = 'id, name', num_parts = 12);
         INSERT INTO p SELECT g, 'n' || g FROM generate_series(1, 200) g",
    )?;
    let found =
        "SELECT count(*) FROM p, LATERAL shardman.get_partition_for_value('p', id::bigint, name) f
                 WHERE f.local_nspname || '.' || f.local_relname = p.tableoid::regclass::text
                   AND (f.rgid = shardman.my_id()) = (f.remote_relname IS NULL)";
    assert_eq!(one.integer(found)?, 200);
    assert_eq!(cluster.session(2)?.integer("SELECT shardman.my_id()")?, 2);
    let unsharded = "SELECT shardman.get_partition_for_value('pg_class', 1) IS NULL";
    assert_eq!(one.value(unsharded)?, "t");
    let wrong = one.failure("SELECT shardman.get_partition_for_value('p', 1)")?;
    assert_eq!(wrong.code().code(), "22023");
    let wrong = one.failure("SELECT shardman.get_partition_for_value('p', 'x', 'y')")?;
    assert_eq!(wrong.code().code(), "22P02");
    Ok(())
}
