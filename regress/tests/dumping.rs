//! `shardmanctl dump`: back into one server, and into a new cluster.

use std::path::Path;
use std::process::Command;

use regress::{Session, TestCluster};

fn restore(file: &Path, connstr: &str) -> anyhow::Result<()> {
    let psql =
        std::env::var("SHARDMAN_PG_BINDIR").map_or("psql".into(), |dir| format!("{dir}/psql"));
    let output = Command::new(psql)
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", connstr, "-f"])
        .arg(file)
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn contents(session: &Session) -> anyhow::Result<Vec<String>> {
    [
        "SELECT count(*) || ' ' || sum(id) || ' ' || sum(twice) || ' ' || min(note) FROM public.\"T\"",
        "SELECT count(*) || ' ' || count(DISTINCT n) FROM public.s",
        "SELECT string_agg(id || v, ',') FROM public.plain",
        "SELECT count(*)::text FROM public.seen",
        "SELECT string_agg(conname || pg_get_constraintdef(oid), ' ' ORDER BY conname) FROM pg_constraint
         WHERE conrelid IN ('public.\"T\"'::regclass, 'public.s'::regclass) AND contype <> 'n'",
        "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE tablename IN ('T', 's')",
    ]
    .iter()
    .map(|query| session.value(query))
    .collect()
}

#[test]
fn a_dump_is_restored_into_one_database_and_into_a_cluster() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let one = cluster.session(1)?;
    one.run(
        "SET shardman.broadcast_ddl = on;
         CREATE TYPE mood AS ENUM ('sad', 'happy');
         CREATE TABLE \"T\" (id bigserial PRIMARY KEY, v int CHECK (v > 0), twice int GENERATED ALWAYS AS (v * 2) STORED,
                             note text, m mood DEFAULT 'happy') WITH (distributed_by = 'id', num_parts = 5, fillfactor = 80);
         CREATE TABLE s (k bigint, n int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (k, n))
             WITH (distributed_by = 'k', colocate_with = '\"T\"');
         CREATE INDEX noted ON \"T\" (note);
         CREATE VIEW seen AS SELECT t.id FROM \"T\" t JOIN s ON s.k = t.id;
         SET shardman.broadcast_ddl = off;
         CREATE TABLE plain (id int, v text); INSERT INTO plain VALUES (1, 'a');
         INSERT INTO \"T\" (v, note) SELECT g, E'tab\\t\\\\ back ' || g FROM generate_series(1, 300) g;
         INSERT INTO s (k) SELECT id FROM \"T\" WHERE v <= 100",
    )?;
    let two = cluster.session(2)?;
    let largest = two.integer("INSERT INTO \"T\" (v, note) VALUES (7, 'z') RETURNING id")?;
    let before = contents(&one)?;
    let directory = tempfile::tempdir()?;
    let dump = |name: &str, option: Option<&str>| {
        let file = directory.path().join(name);
        let connstr = cluster.connstr(1);
        let path = file.to_str().unwrap_or_default();
        let arguments: Vec<_> =
            ["dump", &connstr, "--file", path].into_iter().chain(option).collect();
        let output = cluster.ctl_output(&arguments)?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(file)
    };
    let (for_cluster, for_one) = (dump("cluster.sql", None)?, dump("plain.sql", Some("--plain"))?);
    let sharded = "SELECT string_agg(relname || nparts || coalesce(colocated_with::text, ''), ' ' ORDER BY relname) FROM shardman.sharded_tables";
    let tables = one.value(sharded)?;

    // Another database of the server: nothing of ours is in force there.
    one.run("CREATE DATABASE elsewhere")?;
    let elsewhere = cluster.connstr(1).replace("dbname=postgres", "dbname=elsewhere");
    restore(&for_one, &elsewhere)?;
    let session = Session::open(&elsewhere)?;
    assert_eq!(contents(&session)?, before);
    let kind = "SELECT relkind FROM pg_class WHERE oid = 'public.\"T\"'::regclass";
    assert_eq!(session.value(kind)?, "r");
    let next = session.integer("INSERT INTO public.\"T\" (v) VALUES (1) RETURNING id")?;
    assert!(next > largest, "{next} {largest}");

    // A cluster that has nothing of it any more.
    one.run(
        "SET shardman.broadcast_ddl = on; DROP VIEW seen; DROP TABLE \"T\"; DROP TABLE s; DROP TYPE mood;
         SET shardman.broadcast_ddl = off; DROP TABLE plain",
    )?;
    restore(&for_cluster, &cluster.connstr(1))?;
    assert_eq!(contents(&one)?, before);
    assert_eq!(two.value(sharded)?, tables);
    let next = two.integer("INSERT INTO public.\"T\" (v) VALUES (1) RETURNING id")?;
    assert!(next > largest, "{next} {largest}");
    let digest = "SELECT shardman.schema_digest()";
    assert_eq!(one.value(digest)?, two.value(digest)?);
    Ok(())
}
