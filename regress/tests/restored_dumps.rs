//! pg_dump of a node, psql on a new cluster, `shardman.repair()`.

use std::path::Path;
use std::process::Command;

use regress::{Session, TestCluster, schemas_are_equal};

fn program(name: &str) -> Command {
    Command::new(
        std::env::var("SHARDMAN_PG_BINDIR").map_or(name.into(), |dir| format!("{dir}/{name}")),
    )
}

/// The dump of one node, with the rows of all of them or with its own.
fn dump(cluster: &TestCluster, node: u16, file: &Path, has_all_rows: bool) -> anyhow::Result<()> {
    let mut command = program("pg_dump");
    command.args(["--dbname", &cluster.connstr(node), "--file"]).arg(file);
    if has_all_rows {
        command.arg("--include-foreign-data=shardman");
    }
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The errors that psql prints.
fn restore(cluster: &TestCluster, file: &Path) -> anyhow::Result<Vec<String>> {
    let output = program("psql")
        .args(["-XAtq", "-d", &cluster.connstr(1), "-f"])
        .arg(file)
        .env("PGOPTIONS", "-c shardman.restoring=on -c shardman.broadcast_ddl=on")
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors = printed.lines().filter_map(|line| line.split_once("ERROR:  "));
    Ok(errors.map(|(_, message)| message.to_owned()).collect())
}

/// Rows, keys and all that is shown of the tables.
fn contents(session: &Session) -> anyhow::Result<Vec<String>> {
    [
        "SELECT count(*) || ' ' || sum(id) || ' ' || sum(twice) || ' ' || min(note) FROM public.\"T\"",
        "SELECT count(*) || ' ' || count(DISTINCT n) FROM public.lines",
        "SELECT string_agg(k::text || v, ' ' ORDER BY k) FROM public.kinds",
        "SELECT string_agg(r.relname || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid), E'\\n' ORDER BY r.relname, k.conname)
         FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid WHERE r.relname IN ('T', 'lines', 'kinds', 'alone')",
        "SELECT string_agg(indexdef, E'\\n' ORDER BY indexname) FROM pg_indexes WHERE tablename IN ('T', 'lines', 'kinds', 'alone')",
        "SELECT string_agg(relname || nparts || distribution || coalesce(colocated_with::text, ''), ' ' ORDER BY relname)
         FROM (SELECT relname, nparts, array_to_string(distribution_columns, ',') AS distribution, colocated_with
               FROM shardman.sharded_tables) AS t",
        "SELECT string_agg(relname || ' ' || pg_get_userbyid(relowner) || coalesce(relacl::text, ''), ' ' ORDER BY relname)
         FROM pg_class WHERE relname IN ('T', 'lines', 'alone')",
    ]
    .iter()
    .map(|query| session.value(query))
    .collect()
}

const SCHEMA: &str = "
    SET shardman.broadcast_ddl = on;
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, 'stamped'); RETURN NEW; END $$;
    RESET shardman.broadcast_ddl;
    CREATE TABLE kinds (k int PRIMARY KEY, v text) WITH (replicated);
    CREATE TABLE \"T\" (id bigserial PRIMARY KEY, v int CHECK (v > 0), twice int GENERATED ALWAYS AS (v * 2) STORED,
                        note text, m mood DEFAULT 'happy', kind int REFERENCES kinds)
        WITH (distributed_by = 'id', num_parts = 5, fillfactor = 80);
    CREATE TABLE lines (t bigint REFERENCES \"T\" ON DELETE CASCADE, n int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (t, n))
        WITH (distributed_by = 't', colocate_with = '\"T\"');
    CREATE TABLE alone (a int, b text, UNIQUE (a, b)) WITH (distributed_by = 'a, b', num_parts = 3);
    CREATE INDEX noted ON \"T\" (note);
    CREATE TRIGGER stamping BEFORE INSERT ON \"T\" FOR EACH ROW EXECUTE FUNCTION stamp();
    GRANT SELECT ON \"T\" TO PUBLIC;
    ALTER TABLE lines OWNER TO clerk;
    INSERT INTO kinds VALUES (1, 'one'), (2, 'two');
    INSERT INTO \"T\" (v, kind, note) SELECT g, 1 + g % 2, 'n' || g FROM generate_series(1, 200) g;
    INSERT INTO lines (t) SELECT id FROM \"T\" WHERE v <= 50;
    INSERT INTO alone SELECT g, 'b' || g FROM generate_series(1, 30) g";

#[test]
fn what_pg_dump_took_from_a_node_is_sharded_again() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("dump.sql");
    let (before, largest) = {
        let cluster = TestCluster::up(2)?;
        let one = cluster.session(1)?;
        one.run("CREATE ROLE clerk IN ROLE global")?;
        one.run(SCHEMA)?;
        // Of a block that node 1 knows nothing of.
        let two = cluster.session(2)?;
        let largest = two.integer("INSERT INTO \"T\" (v) VALUES (7) RETURNING id")?;
        dump(&cluster, 1, &file, true)?;
        (contents(&one)?, largest)
    };
    let cluster = TestCluster::up(2)?;
    let nodes = [cluster.session(1)?, cluster.session(2)?];
    let [one, two] = &nodes;
    one.run("CREATE ROLE clerk IN ROLE global")?;
    assert_eq!(one.integer("SELECT shardman.repair()")?, 0);
    let errors = restore(&cluster, &file)?;
    // Keys of parents are not valid before all partitions have them; those foreign keys that can be
    // added to parents come to their partitions at once.
    let known = |error: &String| {
        error.contains("schema \"shardman\" already exists")
            || error.contains("there is no unique constraint matching given keys")
            || (error.starts_with("constraint ") && error.ends_with(" already exists"))
    };
    assert!(errors.iter().all(known), "{errors:?}");
    assert_eq!(one.integer("SELECT shardman.repair()")?, 3);
    assert_eq!(contents(one)?, before);
    assert_eq!(contents(two)?, before);
    assert_eq!(one.integer("SELECT shardman.repair()")?, 0);
    schemas_are_equal(&nodes)?;
    for session in &nodes {
        let next = session.integer("INSERT INTO \"T\" (v) VALUES (1) RETURNING id")?;
        assert!(next > largest, "{next} {largest}");
        let row = session.value(&format!("SELECT note || m FROM \"T\" WHERE id = {next}"))?;
        assert_eq!(row, "stampedhappy");
        let orphan = session.failure("INSERT INTO lines (t) VALUES (-1)")?;
        assert_eq!(orphan.code().code(), "23503");
    }
    assert_eq!(two.answer("DELETE FROM \"T\" WHERE v = 3")?.counts, [1]);
    assert_eq!(one.integer("SELECT count(*) FROM lines")?, 49);
    // Nothing of the dump is left beside the partitions.
    let leaves = "SELECT count(*) FROM pg_class WHERE relnamespace IN ('shardman_data'::regnamespace, 'shardman_remote'::regnamespace)
                  AND relkind IN ('r', 'f')";
    assert_eq!(one.integer(leaves)?, 5 + 5 + 3);
    assert_eq!(one.integer("SELECT count(*) FROM shardman.health() WHERE NOT ok")?, 0);
    Ok(())
}
