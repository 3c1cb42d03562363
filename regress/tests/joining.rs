//! Which servers may join, and what a newcomer receives.

use regress::{Shape, TestCluster};

fn standalone(config: &[&str]) -> anyhow::Result<TestCluster> {
    TestCluster::start(&Shape { nodes: 1, is_plain: true, config })
}

const PRELOADED: &str = "shared_preload_libraries=shardman";

#[test]
fn the_extension_must_be_preloaded_and_in_its_database() -> anyhow::Result<()> {
    let server = standalone(&[])?;
    let error = server.session(1)?.failure("CREATE EXTENSION shardman")?;
    assert_eq!(error.code().code(), "55000", "{error:?}");
    assert!(error.message().contains("shared_preload_libraries"), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("postgresql.conf")), "{error:?}");

    let server = standalone(&[PRELOADED, "shardman.database=other"])?;
    let error = server.session(1)?.failure("CREATE EXTENSION shardman")?;
    assert_eq!(error.code().code(), "55000", "{error:?}");
    assert!(error.message().contains("\"other\""), "{error:?}");
    Ok(())
}

#[test]
fn a_server_that_does_not_fit_is_refused_with_the_reason() -> anyhow::Result<()> {
    let cluster = TestCluster::up(1)?;
    let member = cluster.session(1)?;
    let refusal = |server: &TestCluster| {
        let connstr = server.connstr(1);
        member.failure(&format!("SELECT shardman.add_node('{connstr}')"))
    };

    let without_extension = standalone(&[PRELOADED, "max_prepared_transactions=10"])?;
    let error = refusal(&without_extension)?;
    assert_eq!(error.code().code(), "55000", "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("CREATE EXTENSION")), "{error:?}");

    let cannot_prepare = standalone(&[PRELOADED, "max_prepared_transactions=0"])?;
    let session = cannot_prepare.session(1)?;
    session.run("CREATE EXTENSION shardman")?;
    let error = refusal(&cannot_prepare)?;
    assert_eq!(error.code().code(), "55000", "{error:?}");
    assert!(
        error.detail().is_some_and(|d| d.contains("ax_prepared_transactions is 0")),
        "{error:?}"
    );
    let own = cannot_prepare.connstr(1);
    let error = session.failure(&format!("SELECT shardman.create_cluster('{own}')"))?;
    assert_eq!(error.code().code(), "55000", "{error:?}");

    // An extension of another version, as after an update of one server only.
    let other_version = standalone(&[PRELOADED, "max_prepared_transactions=10"])?;
    let session = other_version.session(1)?;
    session.run("CREATE EXTENSION shardman; UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'shardman'")?;
    let error = refusal(&other_version)?;
    assert_eq!(error.code().code(), "55000", "{error:?}");
    assert!(
        error.detail().is_some_and(|d| d.contains("0.0.1") && d.contains("0.1.0")),
        "{error:?}"
    );

    // A server of another cluster, and one that nobody answers at.
    let other_cluster = TestCluster::up(1)?;
    let error = refusal(&other_cluster)?;
    assert_eq!(error.code().code(), "55000", "{error:?}");
    assert!(error.detail().is_some_and(|d| d.contains("member of cluster")), "{error:?}");
    let error =
        member.failure("SELECT shardman.add_node('host=127.0.0.1 port=1 user=postgres')")?;
    assert_eq!(error.code().code(), "08001", "{error:?}");

    // None of the attempts left a trace.
    assert_eq!(member.integer("SELECT count(*) FROM shardman.nodes")?, 1);
    Ok(())
}

#[test]
fn a_newcomer_receives_every_sharded_table_and_serves_it() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let make_owner = "CREATE ROLE owner; GRANT CREATE ON SCHEMA public TO owner";
    for node in 1..=2 {
        cluster.session(node)?.run(make_owner)?;
    }
    let first = cluster.session(1)?;
    first.run(
        r#"SET ROLE owner;
           CREATE TABLE root (id integer PRIMARY KEY, note text DEFAULT 'none') WITH (distributed_by = 'id', num_parts = 4, fillfactor = 80);
           CREATE TABLE "With ""quotes""" ("K" integer, v text CHECK (v <> ''), UNIQUE ("K", v)) WITH (distributed_by = '"K"', colocate_with = 'root');
           CREATE INDEX ON root (note);
           CREATE TABLE gone (id integer) WITH (distributed_by = 'id');
           INSERT INTO root SELECT generate_series(1, 100);
           INSERT INTO "With ""quotes""" SELECT i, 'v' || i FROM generate_series(1, 100) AS i;
           DROP TABLE gone;
           RESET ROLE"#,
    )?;

    // The owner is missing there: joining stops, names the reason, and goes on
    // when it is called again.
    let error = cluster.dev(&["add"]).expect_err("the role is missing on the newcomer");
    assert!(format!("{error:#}").contains("role \"owner\" does not exist"), "{error:#}");
    let newcomer = cluster.session(3)?;
    newcomer.run(make_owner)?;
    let address = cluster.connstr(3);
    assert_eq!(first.integer(&format!("SELECT shardman.add_node('{address}')"))?, 3);
    let again = first.failure(&format!("SELECT shardman.add_node('{address}')"))?;
    assert_eq!(again.code().code(), "42710", "{again:?}");

    assert_eq!(newcomer.integer("SELECT shardman.my_id()")?, 3);
    assert_eq!(newcomer.integer("SELECT sum(id) FROM root")?, 5050);
    let joined =
        r#"SELECT count(*) FROM root JOIN "With ""quotes""" ON id = "K" WHERE v = 'v' || id"#;
    assert_eq!(newcomer.integer(joined)?, 100);
    for table in ["root", r#""With ""quotes""""#] {
        let describe = format!(
            "SELECT shardman.describe_table('{table}'::regclass)::text || relowner::regrole
             FROM pg_class WHERE oid = '{table}'::regclass"
        );
        assert_eq!(newcomer.value(&describe)?, first.value(&describe)?);
    }
    let map = "SELECT string_agg(format('%s %s %s', rel, pnum, node_id), ',' ORDER BY rel::text, pnum) FROM shardman.parts";
    assert_eq!(newcomer.value(map)?, first.value(map)?);

    // New tables are spread over all three, and ids go on from where they were.
    newcomer.run("CREATE TABLE later (id integer) WITH (distributed_by = 'id', num_parts = 6)")?;
    for node in 1..=3 {
        let held = "SELECT count(*) FROM shardman.parts WHERE rel = 'later'::regclass AND node_id = shardman.my_id()";
        assert_eq!(cluster.session(node)?.integer(held)?, 2);
    }
    newcomer.run("UPDATE root SET note = 'seen' WHERE id <= 10")?;
    assert_eq!(first.integer("SELECT count(*) FROM root WHERE note = 'seen'")?, 10);
    Ok(())
}
