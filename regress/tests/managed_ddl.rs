//! What is changed about a sharded table on one node is changed on all.

use anyhow::Context;
use regress::{Session, TestCluster};

const DIGEST: &str = "SELECT shardman.schema_digest()";

/// Three nodes and a session on each, with a sharded table `t` of an owner.
struct Stage {
    cluster: TestCluster,
    nodes: Vec<Session>,
}

impl Stage {
    fn set() -> anyhow::Result<Self> {
        let cluster = TestCluster::up(3)?;
        let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
        nodes[0].run(
            "SET shardman.broadcast_ddl = on;
             CREATE ROLE owner; CREATE ROLE other; CREATE ROLE reader;
             GRANT CREATE ON SCHEMA public TO owner, other;
             CREATE SCHEMA other_schema; GRANT ALL ON SCHEMA other_schema TO PUBLIC;
             CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN NEW.note := upper(NEW.note); RETURN NEW; END $$;
             CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN PERFORM set_config('my.statements', (coalesce(nullif(current_setting('my.statements', true), ''), '0')::int + 1)::text, false);
                       RETURN NULL; END $$;
             SET shardman.broadcast_ddl = off",
        )?;
        nodes[0].run(
            "SET ROLE owner;
             CREATE TABLE t (id integer, note text) WITH (distributed_by = 'id', num_parts = 6);
             INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 60) AS i",
        )?;
        let stage = Stage { cluster, nodes };
        stage.agree()?;
        Ok(stage)
    }

    /// The schema that all nodes have; an error if they differ.
    fn agree(&self) -> anyhow::Result<String> {
        let digests = self
            .nodes
            .iter()
            .map(|node| {
                node.run("RESET ROLE")?;
                node.value(DIGEST)
            })
            .collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        Ok(digests[0].clone())
    }

    /// Runs a statement as the owner on node `at` and finds its effect on all.
    fn changes(&self, at: usize, sql: &str) -> anyhow::Result<()> {
        let before = self.agree()?;
        self.nodes[at].run("SET ROLE owner")?;
        self.nodes[at].run(sql)?;
        let after = self.agree().map_err(|error| error.context(format!("after: {sql}")))?;
        anyhow::ensure!(before != after, "nothing was changed by: {sql}");
        Ok(())
    }
}

#[test]
fn a_change_of_a_sharded_table_is_one_on_every_node() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let statements = [
        "ALTER TABLE t ADD COLUMN extra integer DEFAULT 7, ADD CHECK (extra > 0)",
        "ALTER TABLE t ALTER COLUMN note SET NOT NULL",
        "ALTER TABLE t ALTER COLUMN note DROP NOT NULL",
        "ALTER TABLE t ALTER COLUMN extra TYPE bigint USING extra + 1",
        "ALTER TABLE t ALTER COLUMN extra SET DEFAULT 8",
        "ALTER TABLE t ALTER COLUMN note SET STATISTICS 500",
        "ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0)",
        "ALTER TABLE t RENAME CONSTRAINT positive TO is_positive",
        "ALTER TABLE t DROP CONSTRAINT is_positive",
        "ALTER TABLE t ADD PRIMARY KEY (id), ADD COLUMN later integer",
        "ALTER TABLE t ADD UNIQUE (note, id)",
        "ALTER TABLE t ALTER COLUMN note TYPE varchar(40)",
        "ALTER TABLE t DROP COLUMN later",
        "ALTER INDEX t_pkey RENAME TO t_key",
        "ALTER TABLE t RENAME COLUMN id TO key",
        "COMMENT ON TABLE t IS 'with ''quotes'''",
        "COMMENT ON COLUMN t.note IS 'a column'",
        "COMMENT ON INDEX t_key IS 'an index'",
        "COMMENT ON CONSTRAINT t_note_id_key ON t IS 'a constraint'",
        "GRANT SELECT, INSERT ON t TO reader",
        "GRANT UPDATE (note) ON t TO reader WITH GRANT OPTION",
        "REVOKE INSERT ON t FROM reader",
        "GRANT DELETE ON ALL TABLES IN SCHEMA public TO reader",
        "CREATE POLICY own ON t FOR SELECT TO reader USING (key < 10)",
        "ALTER POLICY own ON t USING (key < 20)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "DROP POLICY own ON t",
        "ALTER TABLE t DISABLE ROW LEVEL SECURITY",
        "CREATE STATISTICS public.together (dependencies) ON key, note FROM t",
        "COMMENT ON STATISTICS public.together IS 'statistics'",
        "DROP STATISTICS public.together",
        "CREATE TRIGGER shouting BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION shout()",
        "ALTER TRIGGER shouting ON t RENAME TO shouts",
        "COMMENT ON TRIGGER shouts ON t IS 'loud'",
        "ALTER TABLE t DISABLE TRIGGER shouts",
        "ALTER TABLE t ENABLE TRIGGER shouts",
        "DROP TRIGGER shouts ON t",
        "ALTER TABLE t SET (fillfactor = 50, toast.autovacuum_enabled = off)",
        "ALTER TABLE t RESET (toast.autovacuum_enabled), SET (fillfactor = 40)",
        "ALTER TABLE t DROP COLUMN extra",
        "ALTER TABLE t SET SCHEMA other_schema",
        "ALTER TABLE other_schema.t RENAME TO renamed",
    ];
    for (at, sql) in statements.iter().enumerate() {
        stage.changes(at % 3, sql)?;
    }
    // Rows are where they were, and found by the new name of the key.
    for node in &stage.nodes {
        let storage = "SELECT string_agg(DISTINCT reloptions::text, ' ') FROM pg_class
                       WHERE relnamespace = 'shardman_data'::regnamespace AND relkind = 'r'";
        assert_eq!(node.value(storage)?, "{fillfactor=40}");
        assert_eq!(node.integer("SELECT count(*) FROM other_schema.renamed")?, 60);
        let sql = "SELECT note FROM other_schema.renamed WHERE key = 31";
        assert_eq!(node.value(sql)?, "n31");
    }
    let superuser = &stage.nodes[1];
    superuser.run("ALTER TABLE other_schema.renamed OWNER TO other")?;
    stage.agree()?;
    superuser.run("REASSIGN OWNED BY other TO owner")?;
    stage.agree()?;
    superuser.run("ALTER SCHEMA other_schema RENAME TO another")?;
    stage.agree()?;
    assert_eq!(stage.nodes[2].integer("SELECT sum(key) FROM another.renamed")?, 1830);
    Ok(())
}

#[test]
fn names_that_postgresql_chooses_are_the_same_everywhere() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    // On node 2 the names that node 1 would choose are taken.
    stage.nodes[1].run(
        "CREATE TABLE local (a integer CONSTRAINT t_id_check CHECK (a > 0));
         CREATE TABLE t_pkey (a integer)",
    )?;
    stage.changes(0, "ALTER TABLE t ADD CHECK (id > 0)")?;
    stage.changes(0, "ALTER TABLE t ALTER COLUMN note SET NOT NULL, ADD CHECK (note <> '')")?;
    // The name of an index cannot be made alike: another relation has it.
    stage.nodes[0].run("SET ROLE owner")?;
    let error = stage.nodes[0].failure("ALTER TABLE t ADD PRIMARY KEY (id)")?;
    assert_eq!(error.code().code(), "42P07", "{error:?}");
    stage.agree()?;
    Ok(())
}

#[test]
fn a_transaction_with_ddl_is_all_or_nothing() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let before = stage.agree()?;
    let node = &stage.nodes[2];
    node.run("BEGIN; ALTER TABLE t ADD COLUMN a integer; UPDATE t SET a = id; GRANT SELECT ON t TO reader")?;
    assert_eq!(node.integer("SELECT sum(a) FROM t")?, 1830);
    node.run("SAVEPOINT s; ALTER TABLE t DROP COLUMN note")?;
    node.run("ROLLBACK TO s")?;
    assert_eq!(node.value("SELECT note FROM t WHERE a = 5")?, "n5");
    node.run("ROLLBACK")?;
    assert_eq!(stage.agree()?, before);

    node.run(
        "BEGIN; ALTER TABLE t ADD COLUMN a integer; UPDATE t SET a = id; SAVEPOINT s;
              ALTER TABLE t DROP COLUMN note; ROLLBACK TO s; COMMIT",
    )?;
    assert_ne!(stage.agree()?, before);
    assert_eq!(stage.nodes[0].integer("SELECT sum(a) FROM t WHERE note LIKE 'n%'")?, 1830);

    // What fails on another node changes nothing here: there the rows are wrong.
    let error = node.failure("ALTER TABLE t ADD CONSTRAINT small CHECK (id < 60)")?;
    assert_eq!(error.code().code(), "23514", "{error:?}");
    assert_eq!(
        stage.nodes[0].integer("SELECT count(*) FROM pg_constraint WHERE conname = 'small'")?,
        0
    );
    stage.agree()?;
    Ok(())
}

#[test]
fn row_triggers_fire_once_on_the_owner_and_statement_triggers_once_here() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    stage.nodes[0].run(
        "CREATE TABLE counted (id integer PRIMARY KEY, n integer) WITH (distributed_by = 'id', num_parts = 6);
         SET shardman.broadcast_ddl = on;
         CREATE FUNCTION add_one() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN NEW.n := NEW.n + 1; RETURN NEW; END $$;
         SET shardman.broadcast_ddl = off;
         CREATE TRIGGER adding BEFORE INSERT OR UPDATE ON counted FOR EACH ROW EXECUTE FUNCTION add_one();
         CREATE TRIGGER counting AFTER INSERT OR UPDATE ON counted FOR EACH STATEMENT EXECUTE FUNCTION count_statement()",
    )?;
    stage.agree()?;
    for node in &stage.nodes {
        node.run("DELETE FROM counted; SET my.statements = 0")?;
        node.run("INSERT INTO counted SELECT i, 0 FROM generate_series(1, 30) AS i")?;
        assert_eq!(node.value("SELECT min(n) || ' ' || max(n) FROM counted")?, "1 1");
        node.run("UPDATE counted SET n = n + 10")?;
        assert_eq!(node.value("SELECT min(n) || ' ' || max(n) FROM counted")?, "12 12");
        node.run("UPDATE counted SET n = 0 WHERE id = 7; UPDATE counted SET n = 0 WHERE id = 8")?;
        assert_eq!(node.integer("SELECT sum(n) FROM counted WHERE id IN (7, 8)")?, 2);
        assert_eq!(node.value("SELECT current_setting('my.statements')")?, "4");
    }
    Ok(())
}

#[test]
fn a_node_that_joins_later_gets_all_of_it() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    stage.nodes[1].run(
        r#"ALTER TABLE t ADD COLUMN "Odd name" text DEFAULT 'it''s';
           ALTER TABLE t ADD PRIMARY KEY (id);
           CREATE TRIGGER shouting BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id > 5) EXECUTE FUNCTION shout();
           ALTER TABLE t DISABLE TRIGGER shouting;
           CREATE POLICY own ON t AS RESTRICTIVE TO reader, other USING (id < 10) WITH CHECK (note <> 'x');
           ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
           GRANT SELECT ON t TO reader WITH GRANT OPTION; GRANT UPDATE (note, "Odd name") ON t TO other;
           REVOKE DELETE ON t FROM owner; GRANT TRUNCATE ON t TO PUBLIC;
           CREATE STATISTICS "Odd stats" ON id, note FROM t;
           ALTER TABLE t ALTER COLUMN note SET STATISTICS 300;
           ALTER TABLE t ALTER COLUMN "Odd name" SET STORAGE EXTERNAL;
           COMMENT ON TABLE t IS 'all of it'; COMMENT ON COLUMN t."Odd name" IS 'odd';
           COMMENT ON POLICY own ON t IS 'a policy'; COMMENT ON STATISTICS "Odd stats" IS 'statistics'"#,
    )?;
    let digest = stage.agree()?;
    let error = stage.cluster.dev(&["add"]).expect_err("roles are missing on the newcomer");
    assert!(format!("{error:#}").contains("does not exist"), "{error:#}");
    let newcomer = stage.cluster.session(4)?;
    newcomer.run(
        "CREATE ROLE owner; CREATE ROLE other; CREATE ROLE reader; GRANT CREATE ON SCHEMA public TO owner, other;
         CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    )?;
    let address = stage.cluster.connstr(4);
    assert_eq!(stage.nodes[0].integer(&format!("SELECT shardman.add_node('{address}')"))?, 4);
    assert_eq!(newcomer.value(DIGEST)?, digest);
    Ok(())
}

#[test]
fn what_cannot_be_done_on_every_node_is_refused_and_says_why() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let before = stage.agree()?;
    let node = &stage.nodes[0];
    node.run("CREATE TABLE plain (id integer)")?;
    for (sql, code) in [
        ("ALTER TABLE t ADD PRIMARY KEY (note)", "0A000"),
        ("ALTER TABLE t ADD COLUMN u integer UNIQUE", "0A000"),
        ("ALTER TABLE t ADD COLUMN r integer REFERENCES plain (id)", "0A000"),
        ("ALTER TABLE t ATTACH PARTITION plain FOR VALUES WITH (MODULUS 6, REMAINDER 1)", "0A000"),
        ("ALTER TABLE t DETACH PARTITION plain", "0A000"),
        ("ALTER TABLE t SET (fillfactor = 50), ADD COLUMN c integer", "0A000"),
        ("ALTER TABLE t SET TABLESPACE pg_default", "0A000"),
        ("CREATE UNIQUE INDEX ON t (note)", "0A000"),
        ("CREATE UNIQUE INDEX CONCURRENTLY ON t (lower(note))", "0A000"),
        ("ALTER TABLE t ADD UNIQUE USING INDEX by_note", "0A000"),
        ("MERGE INTO t USING plain AS p ON t.id = p.id WHEN MATCHED THEN DELETE", "0A000"),
        ("CREATE RULE r AS ON INSERT TO t DO NOTHING", "0A000"),
    ] {
        let error = node.failure(sql)?;
        assert_eq!(error.code().code(), code, "{sql}: {error:?}");
        assert!(error.detail().is_some() || error.hint().is_some(), "{sql}: {error:?}");
    }
    let leaf = node.value(
        "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 't'::regclass LIMIT 1",
    )?;
    let error = node.failure(&format!("COMMENT ON TABLE {leaf} IS 'by hand'"))?;
    assert_eq!(error.code().code(), "42809", "{error:?}");
    assert_eq!(stage.agree()?, before);
    // Nobody but the owner.
    node.run("SET ROLE reader")?;
    for sql in ["ALTER TABLE t ADD COLUMN mine integer", "ALTER TABLE t SET (fillfactor = 50)"] {
        let error = node.failure(sql)?;
        assert_eq!(error.code().code(), "42501", "{error:?}");
    }
    Ok(())
}

#[test]
fn other_ddl_reaches_every_node_only_when_asked_to() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let node = &stage.nodes[1];
    let exist = |name: &str| -> anyhow::Result<Vec<i64>> {
        let sql = format!(
            "SELECT (SELECT count(*) FROM pg_class WHERE relname = '{name}')
                  + (SELECT count(*) FROM pg_roles WHERE rolname = '{name}')
                  + (SELECT count(*) FROM pg_proc WHERE proname = '{name}')"
        );
        stage.nodes.iter().map(|node| node.integer(&sql)).collect()
    };
    node.run("CREATE TABLE here (a integer)")?;
    assert_eq!(exist("here")?, [0, 1, 0]);
    node.run("SET shardman.broadcast_ddl = on; SET search_path = other_schema, public")?;
    node.run("CREATE TABLE everywhere (a integer); CREATE VIEW seen AS SELECT * FROM everywhere; CREATE TEMPORARY TABLE passing (a integer)")?;
    assert_eq!(exist("everywhere")?, [1, 1, 1]);
    assert_eq!(exist("seen")?, [1, 1, 1]);
    assert_eq!(exist("passing")?, [0, 1, 0]);
    node.run("ALTER TABLE passing ADD COLUMN b integer; DROP TABLE passing")?;
    let schema = "SELECT relnamespace::regnamespace FROM pg_class WHERE relname = 'everywhere'";
    assert_eq!(stage.nodes[2].value(schema)?, "other_schema");
    node.run("BEGIN; CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'; ROLLBACK")?;
    assert_eq!(exist("f")?, [0, 0, 0]);
    // Inside a function as well, each statement by itself.
    node.run("DO $$ BEGIN CREATE ROLE made; EXECUTE 'CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS ''SELECT 1'''; END $$")?;
    assert_eq!(exist("made")?, [1, 1, 1]);
    assert_eq!(exist("f")?, [1, 1, 1]);
    // A password travels as the verifier that the server stored.
    node.run("ALTER ROLE made PASSWORD 'it''s secret' CONNECTION LIMIT 5")?;
    let stored = "SELECT rolpassword || rolconnlimit FROM pg_authid WHERE rolname = 'made'";
    let verifier = node.value(stored)?;
    assert!(verifier.starts_with("SCRAM-SHA-256$") && verifier.ends_with('5'), "{verifier}");
    for node in &stage.nodes {
        assert_eq!(node.value(stored)?, verifier);
    }
    node.run("DROP TABLE everywhere CASCADE; DROP ROLE made; DROP FUNCTION f()")?;
    assert_eq!(exist("everywhere")?, [0, 0, 0]);
    assert_eq!(exist("seen")?, [0, 0, 0]);
    assert_eq!(exist("made")?, [0, 0, 0]);
    a_table_is_not_made_in_part(&stage)
}

/// What a table depends on is on every node, and nothing has its name, or the
/// table is on none.
fn a_table_is_not_made_in_part(stage: &Stage) -> anyhow::Result<()> {
    let (node, other) = (&stage.nodes[0], &stage.nodes[1]);
    other.run("RESET shardman.broadcast_ddl; RESET search_path")?;
    let before = stage.agree()?;
    let sharded = "WITH (distributed_by = 'id', num_parts = 3)";
    let needs = [
        ("SCHEMA lone", "", "lone.x (id integer)", "3F000"),
        ("TYPE lone", "AS ENUM ('a')", "x (id integer, v lone)", "42704"),
        ("DOMAIN lone", "AS integer", "x (id integer, v lone)", "42704"),
        ("COLLATION lone", "FROM \"C\"", "x (id integer, v text COLLATE lone)", "42704"),
        ("EXTENSION citext", "", "x (id integer, v citext)", "42704"),
        (
            "FUNCTION lone()",
            "RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "x (id integer, v integer DEFAULT lone())",
            "42883",
        ),
    ];
    for (object, rest, table, code) in needs {
        let (create, drop) = (format!("CREATE {object} {rest}"), format!("DROP {object}"));
        node.run(&create)?;
        let error = node.failure(&format!("CREATE TABLE {table} {sharded}"))?;
        assert_eq!(error.code().code(), code, "{object}: {error:?}");
        let advises = error.hint().is_some_and(|hint| hint.contains("shardman.broadcast_ddl"));
        assert!(advises, "{object}: {error:?}");
        assert_eq!(stage.agree()?, before, "{object}");
        node.run(&drop)?;
        let name = table.split_once(' ').map_or(table, |(name, _)| name);
        node.run(&format!(
            "SET shardman.broadcast_ddl = on; {create}; CREATE TABLE {table} {sharded}; DROP TABLE {name}; {drop}; RESET shardman.broadcast_ddl"
        ))?;
    }
    for (create, drop) in [
        ("VIEW x AS SELECT 1", "VIEW x"),
        ("SEQUENCE x", "SEQUENCE x"),
        ("TYPE x AS (a integer)", "TYPE x"),
        ("TABLE x_pkey (a integer)", "TABLE x_pkey"),
    ] {
        other.run(&format!("CREATE {create}"))?;
        let error = node.failure(&format!("CREATE TABLE x (id integer PRIMARY KEY) {sharded}"));
        let error = error.context(create)?;
        assert!(["42P07", "42710"].contains(&error.code().code()), "{create}: {error:?}");
        assert!(error.hint().is_some(), "{create}: {error:?}");
        assert_eq!(stage.agree()?, before, "{create}");
        other.run(&format!("DROP {drop}"))?;
    }
    node.run(&format!("CREATE TABLE x (id integer PRIMARY KEY) {sharded}; DROP TABLE x"))?;
    assert_eq!(stage.agree()?, before);
    Ok(())
}

#[test]
fn a_broadcast_runs_on_every_node_as_the_user_who_asks() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let node = &stage.nodes[1];
    node.run("SELECT shardman.broadcast_all_sql('CREATE TABLE note (who name, id integer); GRANT ALL ON note TO PUBLIC')")?;
    node.run("BEGIN; SELECT shardman.broadcast_all_sql('INSERT INTO note VALUES (current_user, 0)'); ROLLBACK")?;
    node.run("SET ROLE owner; SELECT shardman.broadcast_sql('INSERT INTO note VALUES (current_user, 1)'); RESET ROLE")?;
    let counts = stage
        .nodes
        .iter()
        .map(|node| node.integer("SELECT count(*) FROM note WHERE who = 'owner'"));
    assert_eq!(counts.collect::<Result<Vec<_>, _>>()?, [1, 0, 1]);

    let rows = node.rows(
        "SELECT * FROM shardman.broadcast_query('SELECT who, id + shardman.my_id(), NULL FROM note', true)
             AS t(node integer, who name, id integer, nothing text)",
    )?;
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(
        rows,
        [[text("1"), text("owner"), text("2"), None], [text("3"), text("owner"), text("4"), None],]
    );
    let error =
        node.failure("SELECT * FROM shardman.broadcast_query('SELECT 1, 2') AS t(a integer)")?;
    assert_eq!(error.code().code(), "42804", "{error:?}");

    for inner in [
        "SELECT shardman.broadcast_all_sql(''SELECT 1'')",
        "SELECT * FROM shardman.broadcast_query(''SELECT 1'') AS t(a integer)",
    ] {
        for function in ["broadcast_all_sql", "broadcast_sql"] {
            let error = node.failure(&format!("SELECT shardman.{function}('{inner}')"))?;
            assert_eq!(error.message(), "Command execution must be initiated by coordinator");
            assert_eq!(error.code().code(), "55000", "{error:?}");
        }
    }
    let error =
        node.failure("SELECT shardman.broadcast_all_sql('ALTER TABLE t ADD COLUMN x integer')")?;
    assert_eq!(error.code().code(), "0A000", "{error:?}");
    // No more rights over there than in a session of that node.
    node.run("SET ROLE reader")?;
    for sql in [
        "SELECT count(*) FROM shardman_data.shard_1_t_0",
        "SELECT rolpassword FROM pg_authid",
        "DELETE FROM t",
    ] {
        for function in ["broadcast_all_sql", "broadcast_sql"] {
            let error = node.failure(&format!("SELECT shardman.{function}('{sql}')"))?;
            assert!(["42501", "42P01"].contains(&error.code().code()), "{sql}: {error:?}");
        }
        let error =
            node.failure(&format!("SELECT * FROM shardman.broadcast_query('{sql}') AS t(a text)"))?;
        assert!(["42501", "42P01"].contains(&error.code().code()), "{sql}: {error:?}");
    }
    stage.agree()?;
    Ok(())
}
