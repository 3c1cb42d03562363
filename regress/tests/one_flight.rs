//! A statement that is the whole transaction commits in the round trip that
//! runs it. It must not do so where something else belongs to the transaction.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use regress::{Session, TestCluster, db_error};

fn sum(session: &Session) -> anyhow::Result<i64> {
    session.integer("SELECT coalesce(sum(v), 0) FROM t")
}

fn cluster_with_table() -> anyhow::Result<TestCluster> {
    let cluster = TestCluster::up(3)?;
    cluster.session(1)?.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int CONSTRAINT small CHECK (v < 100))
         WITH (distributed_by = 'id', num_parts = 6)",
    )?;
    Ok(cluster)
}

fn ids_on_other_nodes(session: &Session) -> anyhow::Result<Vec<i64>> {
    let rows =
        session.rows("SELECT id FROM t WHERE tableoid::regclass::text LIKE 'shardman_remote.%'")?;
    let ids: Vec<i64> = rows.iter().flatten().flatten().filter_map(|id| id.parse().ok()).collect();
    anyhow::ensure!(ids.len() >= 3, "rows on other nodes: {ids:?}");
    Ok(ids)
}

#[test]
fn what_a_function_leaves_behind_over_there_is_not_the_next_ones() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    for node in 1..=3 {
        cluster.session(node)?.run(
            "CREATE SCHEMA elsewhere; CREATE TABLE seen (level text, path text);
             CREATE FUNCTION litter(int) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO public.seen VALUES (current_setting('transaction_isolation'),
                                                 current_setting('search_path'));
                 SET default_transaction_isolation = 'serializable';
                 SET search_path = elsewhere;
                 RETURN true;
             END $$",
        )?;
    }
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v = 0 OR public.litter(v)))
         WITH (distributed_by = 'id', num_parts = 6)",
    )?;
    one.run("INSERT INTO t SELECT g, 0 FROM generate_series(1, 12) g")?;
    one.run("SET search_path = public, pg_temp")?;
    let remote = ids_on_other_nodes(&one)?;
    for v in 1..=3 {
        for id in &remote {
            one.run(&format!("UPDATE t SET v = {v} WHERE id = {id}"))?;
        }
    }
    for node in 2..=3 {
        let seen = cluster.session(node)?.rows("SELECT DISTINCT level, path FROM seen")?;
        let expected = ["read committed", "public, pg_temp"].map(|s| Some(s.to_owned()));
        anyhow::ensure!(seen == [expected.to_vec()], "on node {node}: {seen:?}");
    }
    Ok(())
}

#[test]
fn alone_it_is_done_and_its_errors_are_the_owners() -> anyhow::Result<()> {
    let cluster = cluster_with_table()?;
    let (one, two) = (cluster.session(1)?, cluster.session(2)?);
    // The first statement of a session has yet to check whom it talks to.
    for id in 1..=30 {
        one.run(&format!("INSERT INTO t VALUES ({id}, 1)"))?;
        anyhow::ensure!(sum(&two)? == id, "row {id} is not there");
    }
    for id in 1..=30 {
        let duplicate = one.failure(&format!("INSERT INTO t VALUES ({id}, 1)"))?;
        anyhow::ensure!(duplicate.code().code() == "23505", "{duplicate:?}");
        let checked = one.failure(&format!("UPDATE t SET v = v + 100 WHERE id = {id}"))?;
        anyhow::ensure!(checked.constraint() == Some("small"), "{checked:?}");
        one.run(&format!("UPDATE t SET v = v + 1 WHERE id = {id}"))?;
        anyhow::ensure!(sum(&two)? == 30 + id);
    }
    for id in 1..=30 {
        one.run(&format!("DELETE FROM t WHERE id = {id}"))?;
        anyhow::ensure!(sum(&two)? == 60 - 2 * id);
    }
    Ok(())
}

#[test]
fn what_belongs_to_more_waits_for_it() -> anyhow::Result<()> {
    let cluster = cluster_with_table()?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE book (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO book VALUES (1);
         CREATE FUNCTION enter() RETURNS int LANGUAGE plpgsql AS
             'BEGIN INSERT INTO book VALUES (1); RETURN 1; END';
         CREATE FUNCTION put_and_fail(int) RETURNS void LANGUAGE plpgsql AS
             'BEGIN INSERT INTO t VALUES ($1, 1); RAISE ''no''; END'",
    )?;
    for id in 1..=12 {
        // Several statements in one message; a function; a block; what fails
        // only when the local part commits.
        one.failure(&format!("INSERT INTO t VALUES ({id}, 1); SELECT 1 / 0"))?;
        one.failure(&format!("SELECT put_and_fail({id})"))?;
        one.failure(&format!("DO $$BEGIN INSERT INTO t VALUES ({id}, 1); RAISE 'no'; END$$"))?;
        one.failure(&format!("INSERT INTO t VALUES ({id}, enter())"))?;
        one.failure(&format!("INSERT INTO t VALUES ({id}, 1) RETURNING 1 / (v - 1)"))?;
        one.run(&format!("BEGIN; INSERT INTO t VALUES ({id}, 1); ROLLBACK"))?;
        one.run(&format!("PREPARE p AS INSERT INTO t VALUES ({id}, 1)"))?;
        one.failure("EXECUTE p; SELECT 1 / 0")?;
        one.run("DEALLOCATE p")?;
        anyhow::ensure!(sum(&one)? == 0, "something of row {id} was committed");
    }
    Ok(())
}

#[test]
fn a_pipeline_is_one_transaction() -> anyhow::Result<()> {
    let cluster = cluster_with_table()?;
    let one = cluster.session(1)?;
    let mut wire = Wire::open(&cluster.connstr(1))?;
    for id in 1..=12 {
        let good = format!("INSERT INTO t VALUES ({id}, 1)");
        wire.pipeline(&[&good, "SELECT 1 / 0"])?;
        anyhow::ensure!(sum(&one)? == 0, "row {id} was committed before the pipeline's end");
        wire.pipeline(&["SELECT 1", &good, &good])?;
        anyhow::ensure!(sum(&one)? == 0, "row {id} was committed before the pipeline's end");
    }
    for id in 1..=12 {
        wire.pipeline(&[&format!("INSERT INTO t VALUES ({id}, 1)")])?;
        anyhow::ensure!(sum(&one)? == id, "row {id} is not there");
    }
    Ok(())
}

#[test]
fn a_cancel_that_the_owner_ignores_denies_nothing() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    for node in 1..=3 {
        cluster.session(node)?.run(
            "CREATE FUNCTION stubborn(int) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN
                 PERFORM pg_sleep(20);
                 RETURN true;
             EXCEPTION WHEN query_canceled THEN
                 RETURN true;
             END $$",
        )?;
    }
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v = 0 OR stubborn(v)))
         WITH (distributed_by = 'id', num_parts = 6)",
    )?;
    one.run("INSERT INTO t SELECT g, 0 FROM generate_series(1, 12) g")?;
    let remote = ids_on_other_nodes(&one)?;
    one.run("SET statement_timeout = '300ms'")?;
    for id in &remote[..3] {
        // It was committed over there: 57014 would say that it was not.
        one.run(&format!("UPDATE t SET v = 1 WHERE id = {id}"))?;
        // What was too late for that statement is not in time for another.
        anyhow::ensure!(one.integer(&format!("SELECT v FROM t WHERE id = {id}"))? == 1);
    }
    // Cancels are heeded again.
    let code = one.failure("SELECT pg_sleep(20)")?.code().code().to_string();
    anyhow::ensure!(code == "57014", "{code}");
    Ok(())
}

#[test]
fn a_select_alone_leaves_nothing_open_and_sees_what_is_committed() -> anyhow::Result<()> {
    let cluster = cluster_with_table()?;
    let (one, two) = (cluster.session(1)?, cluster.session(2)?);
    one.run("INSERT INTO t SELECT g, 0 FROM generate_series(1, 12) g")?;
    one.run("SET application_name = 'reader'")?;
    for id in 1..=12 {
        two.run(&format!("UPDATE t SET v = {id} WHERE id = {id}"))?;
        anyhow::ensure!(one.integer(&format!("SELECT v FROM t WHERE id = {id}"))? == id);
        one.failure(&format!("SELECT 1 / (v - {id}) FROM t WHERE id = {id}"))?;
        // In a block the rows of one snapshot stay the same.
        one.run("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
        anyhow::ensure!(one.integer(&format!("SELECT v FROM t WHERE id = {id}"))? == id);
        two.run(&format!("UPDATE t SET v = 0 WHERE id = {id}"))?;
        anyhow::ensure!(one.integer(&format!("SELECT v FROM t WHERE id = {id}"))? == id);
        one.run("COMMIT")?;
        anyhow::ensure!(one.integer(&format!("SELECT v FROM t WHERE id = {id}"))? == 0);
    }
    Ok(())
}

#[test]
fn a_select_alone_returns_more_rows_than_were_expected() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE many (k int, v int, PRIMARY KEY (k, v))
         WITH (distributed_by = 'k', num_parts = 6)",
    )?;
    // Each leaf was analysed when it held a row, and holds a thousand.
    one.run("INSERT INTO many SELECT k, 0 FROM generate_series(1, 12) k; ANALYZE many")?;
    one.run(
        "INSERT INTO many SELECT k, v FROM generate_series(1, 12) k, generate_series(1, 999) v",
    )?;
    for k in 1..=12 {
        let (rows, sum) = (
            one.integer(&format!(
                "SELECT count(*) FROM (SELECT v FROM many WHERE k = {k} OFFSET 0) x"
            ))?,
            one.rows(&format!("SELECT v FROM many WHERE k = {k}"))?,
        );
        let sum: i64 = sum.iter().flatten().flatten().filter_map(|v| v.parse::<i64>().ok()).sum();
        anyhow::ensure!((rows, sum) == (1000, 499_500), "{k}: {rows} rows, sum {sum}");
    }
    Ok(())
}

#[test]
fn a_cancel_stops_it_and_leaves_nothing() -> anyhow::Result<()> {
    let cluster = cluster_with_table()?;
    let (one, two) = (cluster.session(1)?, cluster.session(2)?);
    one.run("INSERT INTO t SELECT g, 0 FROM generate_series(1, 12) g")?;
    one.run("SET statement_timeout = '300ms'")?;
    for id in 1..=12 {
        two.run(&format!("BEGIN; UPDATE t SET v = 0 WHERE id = {id}"))?;
        let update = format!("UPDATE t SET v = 1 WHERE id = {id}");
        let error = one.run(&update).expect_err("the row is locked");
        let code = db_error(&error).context("a server's error")?.code().code().to_string();
        anyhow::ensure!(code == "57014", "{error:#}");
        two.run("COMMIT")?;
    }
    anyhow::ensure!(sum(&one)? == 0);
    one.run("UPDATE t SET v = 1 WHERE id = 5")?;
    anyhow::ensure!(sum(&two)? == 1);
    Ok(())
}

/// The protocol by hand: several Executes before one Sync.
struct Wire(TcpStream);

impl Wire {
    fn open(connstr: &str) -> anyhow::Result<Wire> {
        let keyword = |name: &str| {
            connstr
                .split_whitespace()
                .find_map(|pair| pair.strip_prefix(&format!("{name}=")))
                .with_context(|| format!("no {name} in {connstr}"))
        };
        let (user, database) = (keyword("user")?, keyword("dbname")?);
        let stream = TcpStream::connect((keyword("host")?, keyword("port")?.parse::<u16>()?))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut wire = Wire(stream);
        let mut body = 196_608i32.to_be_bytes().to_vec();
        for text in ["user", user, "database", database, ""] {
            body.extend(text.bytes().chain([0]));
        }
        let mut message = (body.len() as i32 + 4).to_be_bytes().to_vec();
        message.extend(body);
        wire.0.write_all(&message)?;
        wire.until_ready()?;
        Ok(wire)
    }

    /// Runs statements up to one Sync; errors are as good as success here.
    fn pipeline(&mut self, statements: &[&str]) -> anyhow::Result<()> {
        let mut out = Vec::new();
        let mut put = |tag: u8, body: &[u8]| {
            out.push(tag);
            out.extend((body.len() as i32 + 4).to_be_bytes());
            out.extend(body);
        };
        for sql in statements {
            put(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat());
            put(b'B', &[0; 8]);
            put(b'E', &[0; 5]);
        }
        put(b'S', &[]);
        self.0.write_all(&out)?;
        self.until_ready()
    }

    fn until_ready(&mut self) -> anyhow::Result<()> {
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head)?;
            let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            self.0.read_exact(&mut vec![0; len])?;
            if head[0] == b'Z' {
                return Ok(());
            }
        }
    }
}
