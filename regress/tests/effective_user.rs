//! What a statement runs on another node, it runs as the user who issued it,
//! and there is no way out of that.

use anyhow::Context;
use regress::{Session, TestCluster};
use serde_json::Value;

/// Code of mallory's that statements on the table run: each call writes down
/// who it runs as, before and after trying to become somebody else.
const TRAPS: &str = r#"
CREATE ROLE mallory; CREATE ROLE alice LOGIN; CREATE ROLE bystander;
GRANT CREATE ON SCHEMA public TO mallory;
CREATE TABLE seen (place text, who name, session name, after name, broke_out text[]);
GRANT SELECT, INSERT ON seen TO PUBLIC;
SET ROLE mallory;
CREATE FUNCTION trap(place text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    attempt text;
    broke_out text[] := '{}';
    who name := current_user;
BEGIN
    FOREACH attempt IN ARRAY ARRAY[
        'RESET ROLE', 'SET ROLE postgres', 'SET ROLE NONE', 'SET SESSION AUTHORIZATION postgres',
        'SET SESSION AUTHORIZATION DEFAULT', 'SET LOCAL ROLE bystander',
        'SET shardman.effective_user TO ''postgres''', 'SET LOCAL shardman.effective_user TO ''postgres''',
        'SET shardman.apply TO ''{"command":"lock_ddl"}''',
        'SELECT set_config(''shardman.effective_user'', ''postgres'', false)',
        'SELECT shardman.raft_rpc(''x'')', 'DISCARD ALL', 'RESET ALL',
        'PREPARE shardman_1 AS SELECT 1',
        'ALTER ROLE mallory SUPERUSER', 'SELECT * FROM pg_authid']
    LOOP
        BEGIN
            EXECUTE attempt;
            -- In alice's own session some of it changes nothing; in a session of
            -- the node role only RESET ALL may succeed.
            IF current_user <> who OR (session_user = 'shardman_node' AND attempt <> 'RESET ALL') THEN
                broke_out := broke_out || attempt;
            END IF;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    INSERT INTO public.seen VALUES (place, who, session_user, current_user, broke_out);
    RETURN true;
END $$;
-- An index expression must be immutable, or call itself so.
CREATE FUNCTION indexed(v integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN PERFORM public.trap('index'); RETURN v; END $$;
CREATE FUNCTION generated(v integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN PERFORM public.trap('generated'); RETURN v; END $$;
CREATE FUNCTION in_check(v integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.trap('check');
    INSERT INTO public.waiting VALUES (v);
    RETURN true;
END $$;
CREATE DOMAIN trapped AS integer CHECK (public.trap('domain'));
CREATE TABLE waiting (v integer);
GRANT INSERT ON waiting TO PUBLIC;
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM public.trap('deferred trigger'); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON waiting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit();
"#;

const TABLE: &str = "
SET ROLE mallory;
CREATE TABLE bait (
    id integer PRIMARY KEY,
    v integer CHECK (public.in_check(v)),
    d public.trapped,
    g integer GENERATED ALWAYS AS (public.generated(v)) STORED
) WITH (distributed_by = 'id', num_parts = 6);
CREATE INDEX ON bait (public.indexed(v));
GRANT SELECT, INSERT, UPDATE, DELETE ON bait TO alice";

const PLACES: [&str; 5] = ["check", "deferred trigger", "domain", "generated", "index"];

fn with_bait() -> anyhow::Result<(TestCluster, Vec<Session>)> {
    let cluster = TestCluster::up(3)?;
    let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
    for node in &nodes {
        node.run(TRAPS)?;
        node.run("RESET ROLE")?;
    }
    nodes[0].run(TABLE)?;
    nodes[0].run("RESET ROLE")?;
    for node in &nodes {
        node.run("TRUNCATE seen")?;
    }
    Ok((cluster, nodes))
}

/// A session that logged in as alice on node 1.
fn as_alice(cluster: &TestCluster) -> anyhow::Result<Session> {
    Session::open(&format!("host=127.0.0.1 port={} user=alice dbname=postgres", cluster.port(1)))
}

/// Every trap that was sprung on any node was sprung as `user` and held.
fn assert_all_as(nodes: &[Session], user: &str) -> anyhow::Result<()> {
    for (number, node) in nodes.iter().enumerate() {
        let wrong = node.rows(&format!(
            "SELECT * FROM seen WHERE who <> '{user}' OR after <> who OR broke_out <> '{{}}'"
        ))?;
        assert!(wrong.is_empty(), "on node {}: {wrong:?}", number + 1);
    }
    Ok(())
}

#[test]
fn code_run_by_a_remote_statement_acts_as_the_issuing_user_and_cannot_get_out() -> anyhow::Result<()>
{
    let (cluster, nodes) = with_bait()?;
    let alice = as_alice(&cluster)?;
    alice.run("INSERT INTO bait (id, v, d) SELECT i, i, i FROM generate_series(1, 60) AS i")?;
    alice.run("UPDATE bait SET v = v + 1, d = 5")?;
    assert_all_as(&nodes, "alice")?;
    for node in &nodes[1..] {
        let places =
            node.value("SELECT string_agg(DISTINCT place, ',' ORDER BY place) FROM seen")?;
        assert_eq!(places.split(',').collect::<Vec<_>>(), PLACES, "some trap was not sprung");
        assert_eq!(
            node.value("SELECT DISTINCT session FROM seen WHERE session <> 'postgres'")?,
            "shardman_node"
        );
    }

    // The same in a block that commits on several nodes at once.
    for node in &nodes {
        node.run("TRUNCATE seen")?;
    }
    alice.run(
        "BEGIN;
         INSERT INTO bait (id, v, d) SELECT i, i, i FROM generate_series(101, 160) AS i;
         SAVEPOINT s; DELETE FROM bait WHERE id = 101; ROLLBACK TO s;
         COMMIT",
    )?;
    assert_all_as(&nodes, "alice")?;
    assert!(nodes[1].integer("SELECT count(*) FROM seen WHERE place = 'deferred trigger'")? > 0);

    // DDL: the owner's expressions run as the owner, whoever is connected.
    for node in &nodes {
        node.run("TRUNCATE seen")?;
    }
    nodes[0].run("CREATE INDEX ON bait (public.indexed(v + 1))")?;
    assert_all_as(&nodes, "mallory")?;
    assert!(nodes[1].integer("SELECT count(*) FROM seen")? > 0);
    Ok(())
}

#[test]
fn two_users_in_one_transaction_each_act_as_themselves() -> anyhow::Result<()> {
    let (cluster, nodes) = with_bait()?;
    // carol's function runs as carol although alice calls it.
    for node in &nodes {
        node.run("CREATE ROLE carol; GRANT CREATE ON SCHEMA public TO carol")?;
    }
    nodes[0].run(
        "SET ROLE mallory; GRANT INSERT ON bait TO carol; SET ROLE carol;
         CREATE FUNCTION as_carol() RETURNS void LANGUAGE sql SECURITY DEFINER
             AS 'INSERT INTO public.bait (id, v, d) SELECT i, i, i FROM generate_series(1, 30) AS i';
         RESET ROLE",
    )?;
    as_alice(&cluster)?.run(
        "BEGIN;
         SELECT as_carol();
         INSERT INTO bait (id, v, d) SELECT i, i, i FROM generate_series(31, 60) AS i;
         COMMIT",
    )?;
    for node in &nodes[1..] {
        let who = node.value(
            "SELECT string_agg(DISTINCT who, ',' ORDER BY who) FROM seen WHERE place = 'check'",
        )?;
        assert_eq!(who, "alice,carol");
        let wrong = node.rows("SELECT * FROM seen WHERE after <> who OR broke_out <> '{}'")?;
        assert!(wrong.is_empty(), "{wrong:?}");
    }
    Ok(())
}

#[test]
fn a_node_session_takes_orders_at_top_level_only() -> anyhow::Result<()> {
    let (cluster, nodes) = with_bait()?;
    let refused = Session::open(&format!(
        "host=127.0.0.1 port={} user=shardman_node dbname=postgres password=guess",
        cluster.port(2)
    ));
    assert!(refused.is_err(), "the node role logs in with its credential only");

    // We are root or the owner of the files: the credential is ours to read.
    let data_directory = nodes[1].value("SHOW data_directory")?;
    let identity = std::fs::read_to_string(format!("{data_directory}/shardman/identity.json"))?;
    let identity: Value = serde_json::from_str(&identity)?;
    let credential = identity["credential"].as_str().context("no credential")?;
    let open = || {
        Session::open(&format!(
            "host=127.0.0.1 port={} user=shardman_node dbname=postgres password={credential}",
            cluster.port(2)
        ))
    };

    // Without an effective user it may do nothing.
    let session = open()?;
    assert_eq!(session.failure("SELECT * FROM bait")?.code().code(), "42501");
    assert_eq!(session.failure("SELECT shardman.add_node('host=x')")?.code().code(), "42501");

    // With one it is that user, and neither statement gets it further.
    session.run("BEGIN; SET shardman.effective_user TO 'alice'")?;
    assert_eq!(session.value("SELECT current_user")?, "alice");
    for attempt in [
        "RESET ROLE",
        "SET ROLE mallory",
        "SET SESSION AUTHORIZATION postgres",
        "DO $$ BEGIN EXECUTE 'SET shardman.effective_user TO ''postgres'''; END $$",
        "DO $$ BEGIN SET LOCAL shardman.effective_user TO 'postgres'; END $$",
        "SELECT * FROM pg_authid",
    ] {
        session.run("SAVEPOINT s")?;
        session.failure(attempt)?;
        session.run("ROLLBACK TO s")?;
    }
    session.run("COMMIT")?;
    // It ends with the transaction, also with a failed one.
    assert_eq!(session.value("SELECT current_user")?, "shardman_node");
    session.run("BEGIN; SET shardman.effective_user TO 'alice'")?;
    session.failure("SELECT 1/0")?;
    session.run("ROLLBACK")?;
    assert_eq!(session.value("SELECT current_user")?, "shardman_node");
    let unknown = session.failure("SET shardman.effective_user TO 'nobody at all'")?;
    assert_eq!(unknown.code().code(), "42704");

    // A transaction without BEGIN: the user and the path end with it, too.
    session.run("SET search_path = pg_temp")?;
    let alone = "SET shardman.effective_user TO 'alice', 'pg_catalog, public'";
    for ending in ["SELECT 1", "SELECT 1/0"] {
        session.run(&format!(
            "{alone}; DO $$ BEGIN ASSERT current_user = 'alice'
                AND current_setting('search_path') = 'pg_catalog, public'; END $$"
        ))?;
        let _ = session.run(&format!("{alone}; {ending}"));
        assert_eq!(session.value("SELECT current_user")?, "shardman_node");
    }
    a_user_that_stays(&open()?, &nodes[1])?;
    // It cannot be made to look like something else.
    for name in ["shardman_1", "shardman_"] {
        let reserved = session.failure(&format!("PREPARE {name} AS SELECT 1"))?;
        assert_eq!(reserved.code().code(), "42939", "{name}");
    }
    nodes[1].run("PREPARE shardman_1 AS SELECT 1")?;

    // For anyone else these are no settings at all.
    for statement in [
        "SET shardman.effective_user TO 'alice'",
        "SET shardman.apply TO '{\"command\":\"lock_ddl\"}'",
    ] {
        assert_eq!(nodes[1].failure(statement)?.code().code(), "42602", "{statement}");
    }
    Ok(())
}

/// Told so, a user stays for transactions to come, and nothing gets out of it
/// between them; after one that failed nothing runs until a user is named.
fn a_user_that_stays(session: &Session, here: &Session) -> anyhow::Result<()> {
    const STAYS: &str = "SET shardman.effective_user TO 'alice', 'pg_catalog, public', 'stays'";
    let found = || {
        session.value(
            "SELECT concat_ws(' | ', current_user, current_setting('search_path'),
                              current_setting('transaction_isolation'))",
        )
    };
    const AS_TOLD: &str = "alice | pg_catalog, public | read committed";
    session.run("SET default_transaction_isolation = 'serializable'")?;
    session.run(STAYS)?;
    assert_eq!(found()?, AS_TOLD);
    for attempt in [
        "RESET ROLE",
        "SET ROLE mallory",
        "SET ROLE shardman_node",
        "SET SESSION AUTHORIZATION DEFAULT",
        "DO $$ BEGIN RESET ROLE; END $$",
        "SELECT set_config('role', 'none', false)",
        "SELECT * FROM pg_authid",
    ] {
        // Each is the first statement of its transaction.
        assert_eq!(session.failure(attempt)?.code().code(), "42501", "{attempt}");
        // The session has lost its user, and runs nothing as anybody else.
        assert_eq!(session.failure("SELECT 1")?.code().code(), "40001");
        assert_eq!(session.failure("DO $$ BEGIN END $$")?.code().code(), "40001");
        session.run("BEGIN; ROLLBACK")?;
        session.run(STAYS)?;
        assert_eq!(found()?, AS_TOLD);
    }
    // What functions leave behind does not reach the next statement.
    for change in [
        "SELECT set_config('search_path', 'pg_temp', false)",
        "SELECT set_config('default_transaction_isolation', 'serializable', false)",
        "DO $$ BEGIN RESET ALL; END $$",
    ] {
        session.run(change)?;
        assert_eq!(found()?, AS_TOLD, "{change}");
    }
    // In a block it is the same; the prepared transaction is the node role's.
    session.run("BEGIN")?;
    assert_eq!(session.value("SELECT current_user")?, "alice");
    session.run("COMMIT")?;
    session.run("BEGIN; LOCK TABLE pg_class IN ACCESS SHARE MODE; PREPARE TRANSACTION 'stays'")?;
    assert_eq!(found()?, AS_TOLD);
    let owner = "SELECT owner FROM pg_prepared_xacts WHERE gid = 'stays'";
    assert_eq!(here.value(owner)?, "shardman_node");
    session.run("COMMIT PREPARED 'stays'")?;
    assert_eq!(found()?, AS_TOLD);
    // The name counts, not the role that had it.
    here.run("ALTER ROLE alice RENAME TO carol; CREATE ROLE alice")?;
    let is_new = "SELECT (SELECT oid FROM pg_roles WHERE rolname = current_user) =
                         (SELECT max(oid) FROM pg_roles WHERE rolname IN ('alice', 'carol'))";
    assert_eq!(session.value(is_new)?, "t");
    here.run("DROP ROLE alice")?;
    assert_eq!(session.failure("SELECT 1")?.code().code(), "42704");
    here.run("ALTER ROLE carol RENAME TO alice")?;
    session.run(STAYS)?;
    assert_eq!(found()?, AS_TOLD);
    // Told the short way, a user ends with its transaction again.
    session.run("SET shardman.effective_user TO 'alice'")?;
    assert_eq!(session.value("SELECT current_user")?, "shardman_node");
    Ok(())
}

#[test]
fn who_may_truncate_or_copy_into_the_parent_may_do_so_on_every_node_and_nobody_else()
-> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
    for node in &nodes {
        node.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT pg_execute_server_program TO alice, bob")?;
    }
    nodes[0].run(
        "CREATE TABLE a (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 6);
         CREATE TABLE b (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 4);
         INSERT INTO a SELECT generate_series(1, 100);
         INSERT INTO b SELECT generate_series(1, 100);
         GRANT SELECT, INSERT, TRUNCATE ON a, b TO alice; GRANT SELECT ON a, b TO bob",
    )?;
    let as_user = |user: &str| {
        let port = cluster.port(1);
        Session::open(&format!("host=127.0.0.1 port={port} user={user} dbname=postgres"))
    };
    let (alice, bob) = (as_user("alice")?, as_user("bob")?);
    const COPY: &str = "COPY a FROM PROGRAM 'seq 201 300'";
    for refused in ["TRUNCATE a", COPY] {
        assert_eq!(bob.failure(refused)?.code().code(), "42501", "{refused}");
    }
    assert_eq!(bob.integer("SELECT count(*) FROM a")?, 100);
    alice.run(COPY)?;
    assert_eq!(nodes[1].integer("SELECT count(*) FROM a")?, 200);
    alice.run("BEGIN; TRUNCATE a, b")?;
    assert_eq!(alice.integer("SELECT count(*) FROM a")?, 0);
    alice.run("ROLLBACK")?;
    assert_eq!(nodes[2].integer("SELECT count(*) FROM a")?, 200);
    alice.run("TRUNCATE a, b RESTART IDENTITY CASCADE")?;
    for table in ["a", "b"] {
        assert_eq!(nodes[1].integer(&format!("SELECT count(*) FROM {table}"))?, 0);
    }
    // No leaf is to be had by its name, whatever rights there are on the parent.
    for node in &nodes {
        let port = "SELECT inet_server_port()";
        let leaf = "SELECT min(oid::regclass::text) FROM pg_class WHERE relkind = 'r'
                    AND relnamespace = 'shardman_data'::regnamespace";
        let (port, leaf) = (node.value(port)?, node.value(leaf)?);
        let alice =
            Session::open(&format!("host=127.0.0.1 port={port} user=alice dbname=postgres"))?;
        for by_hand in [format!("TRUNCATE {leaf}"), format!("COPY {leaf} FROM PROGRAM 'seq 3'")] {
            assert_eq!(alice.failure(&by_hand)?.code().code(), "42809", "{by_hand}");
        }
    }
    Ok(())
}
