//! A function that another node's statement runs here must not turn to further
//! nodes: it would do so in a transaction of its own, which does not see the
//! statement's changes, waits for its locks and ends apart from it.

use regress::TestCluster;

/// The key of `c` that lives on node `node`.
fn key(cluster: &TestCluster, node: u16) -> anyhow::Result<i64> {
    let id = cluster.member_id(node)?;
    cluster.session(1)?.integer(&format!(
        "SELECT min(g) FROM generate_series(1, 100) g JOIN shardman.parts p
         ON p.rel = 'c'::regclass AND satisfies_hash_partition('c'::regclass, 3, p.pnum, g)
         WHERE p.node_id = {id}"
    ))
}

#[test]
fn functions_on_a_participant_do_not_reach_further_nodes() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    for node in 1..=3 {
        cluster.session(node)?.run(
            "CREATE FUNCTION checked(v int) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN
                 CASE v
                     WHEN 1 THEN RETURN (SELECT count(*) FROM public.t) >= 0;
                     WHEN 2 THEN INSERT INTO public.t SELECT g FROM generate_series(1000, 1010) g;
                     WHEN 3 THEN UPDATE public.t SET id = id WHERE id < 100;
                     -- What is here may be used.
                     WHEN 4 THEN PERFORM FROM public.here;
                     ELSE NULL;
                 END CASE;
                 RETURN true;
             END $$;
             CREATE TABLE here (id int)",
        )?;
    }
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id int PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 3);
         CREATE TABLE c (id int PRIMARY KEY, v int CHECK (public.checked(v)))
             WITH (distributed_by = 'id', num_parts = 3);
         INSERT INTO t SELECT g FROM generate_series(1, 30) g",
    )?;
    let remote = key(&cluster, 2)?;
    for (v, block) in [(1, false), (1, true), (2, false), (2, true), (3, false), (3, true)] {
        let insert = format!("INSERT INTO c VALUES ({remote}, {v})");
        // In a block with changes of its own, here and on the third node too,
        // which a transaction apart would wait for.
        let error = if block {
            session.run("BEGIN; UPDATE t SET id = id")?;
            let error = session.failure(&insert)?;
            session.run("ROLLBACK")?;
            error
        } else {
            session.failure(&insert)?
        };
        assert_eq!(error.code().code(), "0A000", "{v}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("function")), "{v}: {error:?}");
    }
    assert_eq!(session.integer("SELECT count(*) FROM c")?, 0);
    assert_eq!(session.integer("SELECT count(*) FROM t")?, 30);
    session.run(&format!("INSERT INTO c VALUES ({remote}, 4)"))?;
    // Where the statement itself runs, everything can be reached.
    let local = key(&cluster, 1)?;
    session
        .run(&format!("BEGIN; UPDATE t SET id = id; INSERT INTO c VALUES ({local}, 1); COMMIT"))?;
    cluster.session(2)?.run(&format!("UPDATE c SET v = 2 WHERE id = {remote}"))?;
    assert_eq!(session.integer("SELECT count(*) FROM t")?, 41);
    Ok(())
}
