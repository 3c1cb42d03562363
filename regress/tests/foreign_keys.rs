//! Foreign keys between sharded tables: PostgreSQL checks them where the rows
//! are, and a user finds on the parents what a plain table would show.

use regress::{Session, TestCluster, key_on_node};

const DIGEST: &str = "SELECT shardman.schema_digest()";

/// What tools read of the foreign keys of a table.
const SHOWN: &str = "
    SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), '; ' ORDER BY conname)
    FROM pg_constraint WHERE conrelid = 'lines'::regclass AND contype = 'f'";

/// Foreign keys of real leaves, of all nodes.
const OF_LEAVES: &str = "
    SELECT count(*) FROM shardman.broadcast_query($$
        SELECT conname::text FROM pg_constraint
        WHERE connamespace = 'shardman_data'::regnamespace AND contype = 'f'$$) AS t(name text)";

struct Stage {
    cluster: TestCluster,
    nodes: Vec<Session>,
}

impl Stage {
    fn set() -> anyhow::Result<Self> {
        let cluster = TestCluster::up(3)?;
        let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
        nodes[0].run(
            "CREATE TABLE orders (id int PRIMARY KEY, customer int, UNIQUE (id, customer))
                 WITH (distributed_by = 'id', num_parts = 6);
             CREATE TABLE lines (order_id int REFERENCES orders ON DELETE CASCADE, line int, customer int,
                                 PRIMARY KEY (order_id, line))
                 WITH (distributed_by = 'order_id', colocate_with = 'orders')",
        )?;
        nodes[1].run(
            "INSERT INTO orders SELECT i, i FROM generate_series(1, 30) AS i;
             INSERT INTO lines SELECT i, l, i FROM generate_series(1, 30) AS i, generate_series(1, 2) AS l",
        )?;
        let stage = Stage { cluster, nodes };
        stage.agree()?;
        Ok(stage)
    }

    fn agree(&self) -> anyhow::Result<()> {
        let digests = self.nodes.iter().map(|node| node.value(DIGEST));
        let digests = digests.collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        Ok(())
    }

    fn fails(&self, at: usize, sql: &str, code: &str) -> anyhow::Result<()> {
        let error = self.nodes[at].failure(sql)?;
        anyhow::ensure!(error.code().code() == code, "{sql}: {error:?}");
        self.nodes[at].run("ROLLBACK")
    }
}

#[test]
fn rows_reference_rows_through_every_node() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let nodes = &stage.nodes;
    for owner in 1..=3u16 {
        let key = key_on_node(&stage.cluster, "orders", owner)?;
        for (at, node) in nodes.iter().enumerate() {
            // The one-row way, the bulk way, and UPDATE.
            stage.fails(at, &format!("INSERT INTO lines VALUES ({key} + 1000, 1, 1)"), "23503")?;
            stage.fails(
                at,
                &format!(
                    "INSERT INTO lines SELECT i, 9, 1 FROM generate_series({key}, {key} + 100) AS i"
                ),
                "23503",
            )?;
            stage.fails(
                at,
                &format!("UPDATE lines SET order_id = order_id + 1000 WHERE order_id = {key}"),
                "23503",
            )?;
            // The other side: the cascade stays in the transaction.
            node.run(&format!("BEGIN; DELETE FROM orders WHERE id = {key}"))?;
            assert_eq!(
                node.integer(&format!("SELECT count(*) FROM lines WHERE order_id = {key}"))?,
                0
            );
            node.run("ROLLBACK")?;
        }
    }
    nodes[2].run("DELETE FROM orders WHERE id > 20")?;
    assert_eq!(nodes[0].integer("SELECT count(*) FROM lines")?, 40);
    stage.fails(0, "UPDATE orders SET id = id + 1000 WHERE id = 3", "0A000")?;
    stage.fails(1, "TRUNCATE orders", "0A000")?;
    nodes[1].run("BEGIN; TRUNCATE orders CASCADE")?;
    assert_eq!(nodes[1].integer("SELECT count(*) FROM lines")?, 0);
    nodes[1].run("ROLLBACK; TRUNCATE lines, orders")?;
    assert_eq!(nodes[2].integer("SELECT count(*) FROM lines")?, 0);
    Ok(())
}

#[test]
fn deferred_checks_wait_for_the_commit_or_set_constraints_on_every_node() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let nodes = &stage.nodes;
    nodes[1].run(
        "ALTER TABLE lines ADD CONSTRAINT both_columns FOREIGN KEY (order_id, customer)
             REFERENCES orders (id, customer) ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED",
    )?;
    stage.agree()?;
    for owner in 1..=3u16 {
        let key = key_on_node(&stage.cluster, "orders", owner)?;
        for (at, node) in nodes.iter().enumerate() {
            let wrong = format!("BEGIN; UPDATE lines SET customer = -1 WHERE order_id = {key}");
            stage.fails(at, &format!("{wrong}; COMMIT"), "23503")?;
            stage.fails(at, &format!("{wrong}; SET CONSTRAINTS ALL IMMEDIATE"), "23503")?;
            stage.fails(
                at,
                &format!("{wrong}; SET CONSTRAINTS both_columns IMMEDIATE"),
                "23503",
            )?;
            stage.fails(at, &format!("BEGIN; SET CONSTRAINTS ALL IMMEDIATE; UPDATE lines SET customer = -1 WHERE order_id = {key}"), "23503")?;
            node.run(&format!(
                "{wrong}; UPDATE lines SET customer = {key} WHERE order_id = {key}; COMMIT"
            ))?;
        }
        nodes[0].run(&format!("UPDATE orders SET customer = -5 WHERE id = {key}"))?;
        let sql = format!("SELECT count(*) FROM lines WHERE order_id = {key} AND customer = -5");
        assert_eq!(nodes[1].integer(&sql)?, 2);
    }
    Ok(())
}

#[test]
fn the_parent_shows_a_foreign_key_and_ddl_changes_it_everywhere() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let nodes = &stage.nodes;
    let cascading =
        "lines_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders(id) ON DELETE CASCADE";
    for node in nodes {
        assert_eq!(node.value(SHOWN)?, cascading);
    }
    assert_eq!(nodes[0].integer(OF_LEAVES)?, 6);
    let sql = "SELECT delete_rule || ' ' || unique_constraint_name FROM information_schema.referential_constraints
               WHERE constraint_schema = 'public' AND constraint_name = 'lines_order_id_fkey'";
    assert_eq!(nodes[2].value(sql)?, "CASCADE orders_pkey");

    nodes[1].run(
        "ALTER TABLE lines ADD FOREIGN KEY (order_id, customer) REFERENCES orders (id, customer), ADD COLUMN more int;
         COMMENT ON CONSTRAINT lines_order_id_customer_fkey ON lines IS 'both'",
    )?;
    stage.agree()?;
    assert_eq!(nodes[0].integer(OF_LEAVES)?, 12);
    for sql in [
        "ALTER TABLE lines RENAME CONSTRAINT lines_order_id_customer_fkey TO renamed",
        "ALTER TABLE lines ALTER CONSTRAINT renamed DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE lines ALTER COLUMN customer TYPE bigint",
        "ALTER TABLE orders ALTER COLUMN customer TYPE bigint",
        "ALTER TABLE orders RENAME COLUMN customer TO buyer",
        "ALTER TABLE orders RENAME TO purchases",
        "ALTER TABLE purchases ADD UNIQUE (buyer, id)",
    ] {
        nodes[2].run(sql)?;
        stage.agree()?;
    }
    let renamed = "renamed FOREIGN KEY (order_id, customer) REFERENCES purchases(id, buyer) DEFERRABLE INITIALLY DEFERRED";
    for node in nodes {
        assert!(node.value(SHOWN)?.ends_with(renamed), "{}", node.value(SHOWN)?);
        let comment = "SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint
                       WHERE conrelid = 'lines'::regclass AND conname = 'renamed'";
        assert_eq!(node.value(comment)?, "both");
    }
    let sql = "SELECT count(*) FROM shardman.broadcast_query($$
                   SELECT 1 FROM pg_constraint WHERE connamespace = 'shardman_data'::regnamespace
                   AND conname = 'renamed' AND condeferred$$) AS t(n int)";
    assert_eq!(nodes[0].integer(sql)?, 6);

    assert_eq!(nodes[1].integer("SELECT count(*) FROM purchases")?, 30);

    // A table that is made, and a node that joins, later.
    nodes[2].run(
        "CREATE TABLE notes (order_id int, line int, note text,
             FOREIGN KEY (order_id, line) REFERENCES lines DEFERRABLE, PRIMARY KEY (order_id, line))
             WITH (distributed_by = 'order_id', colocate_with = 'lines')",
    )?;
    stage.cluster.dev(&["add"])?;
    let fourth = stage.cluster.session(4)?;
    assert_eq!(fourth.value(DIGEST)?, nodes[0].value(DIGEST)?);
    assert_eq!(fourth.failure("INSERT INTO notes VALUES (1, 5, '')")?.code().code(), "23503");
    fourth.run("INSERT INTO notes VALUES (1, 2, '')")?;

    stage.fails(0, "DROP TABLE purchases", "2BP01")?;
    stage.fails(0, "ALTER TABLE purchases DROP CONSTRAINT orders_pkey", "2BP01")?;
    nodes[0].run("ALTER TABLE lines DROP CONSTRAINT renamed")?;
    stage.agree()?;
    fourth.run("DROP TABLE purchases CASCADE")?;
    stage.agree()?;
    // The leaves of notes are left with theirs.
    assert_eq!(nodes[0].integer(OF_LEAVES)?, 6);
    nodes[1].run("INSERT INTO lines VALUES (12345, 1, 1)")
}

#[test]
fn what_cannot_be_checked_on_one_node_is_refused_with_the_reason() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    stage.nodes[0].run(
        "CREATE TABLE elsewhere (id int PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 6);
         CREATE TABLE plain (id int PRIMARY KEY, o int)",
    )?;
    let refused = [
        (
            "ALTER TABLE lines ADD FOREIGN KEY (order_id) REFERENCES elsewhere",
            "colocate_with = 'elsewhere'",
        ),
        (
            "ALTER TABLE lines ADD FOREIGN KEY (order_id) REFERENCES plain",
            "colocate_with = 'plain'",
        ),
        ("ALTER TABLE plain ADD FOREIGN KEY (o) REFERENCES orders", "colocate_with = 'orders'"),
        ("CREATE TABLE other (o int REFERENCES orders)", "colocate_with = 'orders'"),
        ("ALTER TABLE lines ADD FOREIGN KEY (line) REFERENCES orders", "FOREIGN KEY (order_id, …)"),
        (
            "ALTER TABLE lines ADD FOREIGN KEY (order_id) REFERENCES orders ON DELETE SET NULL",
            "SET NULL (column, …)",
        ),
        (
            "ALTER TABLE lines ADD FOREIGN KEY (order_id) REFERENCES orders ON UPDATE SET DEFAULT",
            "CASCADE",
        ),
    ];
    for (sql, hint) in refused {
        let error = stage.nodes[0].failure(sql)?;
        assert_eq!(error.code().code(), "0A000", "{sql}: {error:?}");
        assert!(error.hint().is_some_and(|h| h.contains(hint)), "{sql}: {error:?}");
    }
    // What PostgreSQL refuses comes from PostgreSQL.
    for (sql, code) in [
        ("ALTER TABLE lines ADD FOREIGN KEY (order_id) REFERENCES nowhere", "42P01"),
        (
            "ALTER TABLE lines ADD FOREIGN KEY (order_id, line) REFERENCES orders (id, customer), ADD CHECK (absent > 0)",
            "42703",
        ),
        ("ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES lines (order_id)", "42830"),
        ("ALTER TABLE orders ADD FOREIGN KEY (id, customer) REFERENCES lines", "23503"),
        (
            "ALTER TABLE lines ADD CONSTRAINT lines_pkey FOREIGN KEY (order_id) REFERENCES orders",
            "42710",
        ),
    ] {
        stage.fails(0, sql, code)?;
    }
    stage.agree()
}

#[test]
fn another_role_may_reference_with_the_right_to() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let nodes = &stage.nodes;
    nodes[0].run(
        "SET shardman.broadcast_ddl = on; CREATE ROLE other; GRANT CREATE ON SCHEMA public TO other;
         SET shardman.broadcast_ddl = off; GRANT SELECT ON orders TO other; SET ROLE other",
    )?;
    let create = "CREATE TABLE mine (o int PRIMARY KEY REFERENCES orders ON DELETE CASCADE)
                  WITH (distributed_by = 'o', colocate_with = 'orders')";
    assert_eq!(nodes[0].failure(create)?.code().code(), "42501");
    nodes[0].run("RESET ROLE; GRANT REFERENCES ON orders TO other; SET ROLE other")?;
    nodes[0].run(create)?;
    nodes[0].run("INSERT INTO mine SELECT generate_series(1, 30)")?;
    stage.fails(0, "INSERT INTO mine VALUES (31)", "23503")?;
    nodes[1].run("DELETE FROM orders WHERE id <= 10")?;
    assert_eq!(nodes[2].integer("SELECT count(*) FROM mine")?, 20);
    // No right on a leaf is left behind.
    nodes[0].run("RESET ROLE")?;
    let sql = "SELECT count(*) FROM pg_class, aclexplode(relacl) AS a
               WHERE relnamespace = 'shardman_data'::regnamespace AND a.grantee = 'other'::regrole AND relname LIKE '%orders%'";
    assert_eq!(nodes[1].integer(sql)?, 0);
    stage.agree()
}
