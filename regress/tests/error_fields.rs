//! Every hook of the extension lets PostgreSQL's errors through as they are.

use regress::{Session, TestCluster};
use tokio_postgres::error::DbError;

/// A unique violation with all that a client may act upon.
fn assert_complete(error: &DbError, context: &str) {
    assert_eq!(error.code().code(), "23505", "{error:?}");
    assert_eq!(error.schema(), Some("public"), "{error:?}");
    assert_eq!(error.table(), Some("plain"), "{error:?}");
    assert_eq!(error.constraint(), Some("plain_pkey"), "{error:?}");
    assert!(error.detail().is_some_and(|detail| detail.contains("already exists")), "{error:?}");
    let found = error.where_().unwrap_or_default();
    assert!(found.contains(context), "no \"{context}\" in \"{found}\"");
}

fn prepare(session: &Session) -> anyhow::Result<()> {
    session.run(
        "CREATE TABLE plain (id integer PRIMARY KEY);
         INSERT INTO plain VALUES (1);
         CREATE FUNCTION again() RETURNS void LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO plain VALUES (1); END $$;
         CREATE PROCEDURE once_more() LANGUAGE plpgsql AS $$ BEGIN PERFORM again(); END $$;",
    )
}

#[test]
fn a_unique_violation_keeps_its_fields_and_context_through_every_hook() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let session = cluster.session(1)?;
    prepare(&session)?;
    // post_parse_analyze: the statement itself and one inside a function.
    assert_complete(&session.failure("INSERT INTO plain VALUES (1)")?, "");
    assert_complete(&session.failure("SELECT again()")?, "PL/pgSQL function again() line 1");
    // ProcessUtility: DO, CALL, EXECUTE.
    let in_do = "DO $$ BEGIN PERFORM again(); END $$";
    assert_complete(&session.failure(in_do)?, "PL/pgSQL function inline_code_block line 1");
    assert_complete(&session.failure("CALL once_more()")?, "PL/pgSQL function once_more() line 1");
    session.run("PREPARE p AS INSERT INTO plain VALUES (1)")?;
    assert_complete(&session.failure("EXECUTE p")?, "");
    // ProcessUtility around COPY, and around DDL that fails by itself.
    session.run("CREATE TABLE doubled AS SELECT 1 AS a FROM generate_series(1, 2)")?;
    let built = session.failure("CREATE UNIQUE INDEX doubled_a ON doubled (a)")?;
    assert_eq!(built.code().code(), "23505");
    assert_eq!(built.constraint(), Some("doubled_a"));
    assert_eq!(built.table(), Some("doubled"));
    // object_access: a cascade that fires it and then fails.
    session.run("CREATE TABLE parent (id integer PRIMARY KEY); CREATE TABLE child (id integer REFERENCES parent)")?;
    let depends = session.failure("DROP TABLE parent")?;
    assert_eq!(depends.code().code(), "2BP01");
    assert!(depends.detail().is_some_and(|detail| detail.contains("child_id_fkey")), "{depends:?}");
    Ok(())
}

#[test]
fn a_unique_violation_on_another_node_keeps_its_fields_and_names_the_node() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 2);
         INSERT INTO t SELECT generate_series(1, 20)",
    )?;
    let remote = session
        .value("SELECT min(id) FROM t WHERE tableoid::regclass::text LIKE 'shardman_remote.%'")?;
    let error = session.failure(&format!("INSERT INTO t VALUES ({remote})"))?;
    assert_eq!(error.code().code(), "23505");
    assert_eq!(error.schema(), Some("shardman_data"));
    assert!(error.table().is_some_and(|table| table.starts_with("shard_")), "{error:?}");
    assert!(error.constraint().is_some_and(|name| name.ends_with("_pkey")), "{error:?}");
    assert!(error.detail().is_some_and(|detail| detail.contains("already exists")), "{error:?}");
    assert!(error.where_().is_some_and(|context| context.contains("node2")), "{error:?}");
    Ok(())
}

#[test]
fn an_error_in_a_copy_names_the_users_row_and_in_an_insert_nothing_of_how_it_travelled()
-> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id integer PRIMARY KEY, v integer CONSTRAINT small CHECK (v < 10))
         WITH (distributed_by = 'id', num_parts = 4);
         INSERT INTO t SELECT g, 1 FROM generate_series(1, 20) g",
    )?;
    let remote = session
        .integer("SELECT min(id) FROM t WHERE tableoid::regclass::text LIKE 'shardman_remote.%'")?;
    // The bad row is the last but two of 3000, and the other node finds it alone.
    let copy = |last: &str| {
        format!(
            "COPY t FROM PROGRAM 'seq 1001 3997 | sed \"s/$/,1/\"; echo {last}; echo 5000,1; echo 5001,1'
             (FORMAT csv)"
        )
    };
    let doubled = session.failure(&copy(&format!("{remote},1")))?;
    assert_eq!(doubled.code().code(), "23505", "{doubled:?}");
    assert!(doubled.constraint().is_some_and(|name| name.ends_with("_pkey")), "{doubled:?}");
    let detail = format!("Key (id)=({remote}) already exists.");
    assert_eq!(doubled.detail(), Some(detail.as_str()));
    let context = doubled.where_().unwrap_or_default();
    assert!(context.starts_with("COPY t, row 2998\n"), "{context}");
    assert!(context.contains("on node \"node2\""), "{context}");
    assert_eq!(context.matches("COPY t").count(), 1, "{context}");
    assert!(!context.contains("COPY shard_"), "{context}");

    session.run(&format!("DELETE FROM t WHERE id = {remote}"))?;
    let large = session.failure(&copy(&format!("{remote},11")))?;
    assert_eq!((large.code().code(), large.constraint()), ("23514", Some("small")), "{large:?}");
    let context = large.where_().unwrap_or_default();
    assert!(context.starts_with("COPY t, row 2998\n"), "{context}");

    let inserted = session.failure(&format!(
        "INSERT INTO t SELECT g, CASE WHEN g = {remote} THEN 11 ELSE 1 END
         FROM generate_series({remote}, 3000) g WHERE g > 20 OR g = {remote}"
    ))?;
    assert_eq!((inserted.code().code(), inserted.constraint()), ("23514", Some("small")));
    let context = inserted.where_().unwrap_or_default();
    assert!(!context.contains(", line") && !context.contains("row "), "{context}");
    assert_eq!(session.integer("SELECT count(*) FROM t")?, 19);
    Ok(())
}
