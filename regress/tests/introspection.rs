//! What psql and drivers show of sharded and replicated tables is what they show of
//! plain ones. (`differential.rs` compares the catalogue views that ORMs read.)

use std::process::Command;

use anyhow::{Context, ensure};
use regress::{Session, TestCluster};

/// `{…}` is left out for plain tables.
const TABLES: &str = "
    CREATE TABLE rates (code char(3) PRIMARY KEY, rate numeric(8, 3) NOT NULL, note text UNIQUE) {WITH (replicated)};
    CREATE TABLE shops (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n serial, name text COLLATE \"C\" NOT NULL DEFAULT 'none',
                        size int CHECK (size > 0), twice int GENERATED ALWAYS AS (size * 2) STORED,
                        opened timestamptz DEFAULT now(), tags text[], rate char(3) REFERENCES rates,
                        UNIQUE (id, name)) {WITH (distributed_by = 'id', num_parts = 4)};
    CREATE TABLE sales (shop bigint REFERENCES shops ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, number int,
                        total numeric(12, 2), CONSTRAINT sales_key PRIMARY KEY (shop, number))
        {WITH (distributed_by = 'shop', colocate_with = 'shops')};
    CREATE INDEX ON shops (lower(name) DESC NULLS LAST, size) INCLUDE (n);
    CREATE INDEX large ON sales (total) WHERE total > 100;
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER quiet BEFORE UPDATE ON shops FOR EACH ROW EXECUTE FUNCTION nothing();
    CREATE STATISTICS of_shops ON n, size FROM shops;
    ALTER TABLE shops ENABLE ROW LEVEL SECURITY;
    CREATE POLICY all_of_them ON shops USING (true);
    COMMENT ON TABLE shops IS 'where sales are made';
    COMMENT ON COLUMN shops.size IS 'in square metres';
    GRANT SELECT ON shops TO PUBLIC;
    GRANT UPDATE (total) ON sales TO PUBLIC";

/// What psql prints for its commands.
fn printed(connstr: &str, command: &str) -> anyhow::Result<String> {
    let psql =
        std::env::var("SHARDMAN_PG_BINDIR").map_or("psql".into(), |dir| format!("{dir}/psql"));
    let output = Command::new(psql).args(["-XAd", connstr, "-c", command]).output()?;
    ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(as_of_a_plain_table(&String::from_utf8(output.stdout)?))
}

/// Without what says that a table is partitioned. Partitions reference replicated
/// tables with keys of their own.
fn as_of_a_plain_table(text: &str) -> String {
    let is_about_partitions = |line: &&str| {
        line.starts_with("Partition key: ")
            || line.starts_with("Number of partitions: ")
            || line.starts_with("    TABLE \"shardman_data.")
    };
    text.lines()
        .filter(|line| !is_about_partitions(line))
        .map(|line| {
            let line =
                line.replace("Partitioned table", "Table").replace("Partitioned index", "Index");
            let line = line.replace("partitioned ", "");
            line.replace(" ON ONLY ", " ON ") + "\n"
        })
        .collect()
}

const COMMANDS: &[&str] = &[
    r"\d",
    r"\d rates",
    r"\d shops",
    r"\d sales",
    r"\d shops_pkey",
    r"\d large",
    r"\d shops_n_seq",
    r"\d shops_id_seq",
    r"\dt public.*",
    r"\di public.*",
    r"\ds public.*",
    r"\dp",
    r"\dX",
    r"\dd",
    r"\dft public.*",
];

/// What JDBC's DatabaseMetaData and tools with an editor for rows ask; no schema is
/// named where they do not name one.
const QUERIES: &[&str] = &[
    // Primary keys.
    "SELECT n.nspname, t.relname, a.attname, k.n, x.relname
     FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_class AS x ON x.oid = i.indexrelid
          JOIN pg_namespace AS n ON n.oid = t.relnamespace
          CROSS JOIN LATERAL information_schema._pg_expandarray(i.indkey) AS k
          JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.x
     WHERE i.indisprimary AND t.relname IN ('rates', 'shops', 'sales') ORDER BY 1, 2, 4",
    // Imported and exported keys, with the key that is referenced.
    "SELECT pn.nspname, p.relname, pa.attname, fn.nspname, f.relname, fa.attname, k.n, c.conname, x.relname,
            c.confupdtype, c.confdeltype, c.condeferrable, c.condeferred
     FROM pg_constraint AS c JOIN pg_class AS p ON p.oid = c.confrelid JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
          JOIN pg_class AS f ON f.oid = c.conrelid JOIN pg_namespace AS fn ON fn.oid = f.relnamespace
          JOIN pg_class AS x ON x.oid = c.conindid AND x.relkind IN ('i', 'I')
          CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS k(here, there, n)
          JOIN pg_attribute AS fa ON fa.attrelid = f.oid AND fa.attnum = k.here
          JOIN pg_attribute AS pa ON pa.attrelid = p.oid AND pa.attnum = k.there
     WHERE c.contype = 'f' AND f.relname IN ('shops', 'sales') ORDER BY 1, 2, 4, 5, 7",
    // Indexes.
    "SELECT t.relname, x.relname, NOT i.indisunique, i.indisclustered, m.amname, a.attnum, pg_get_indexdef(x.oid, a.attnum, false),
            i.indoption::text, pg_get_expr(i.indpred, i.indrelid)
     FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_class AS x ON x.oid = i.indexrelid
          JOIN pg_am AS m ON m.oid = x.relam JOIN pg_attribute AS a ON a.attrelid = x.oid
     WHERE t.relname IN ('rates', 'shops', 'sales') ORDER BY 1, 2, 6",
    // Columns, and those that are filled by themselves.
    "SELECT t.relname, a.attname, a.attnotnull, a.atttypmod, a.attlen, a.attidentity, a.attgenerated, y.typname, y.typtype,
            pg_get_expr(d.adbin, d.adrelid), pg_get_serial_sequence(t.oid::regclass::text, a.attname),
            col_description(t.oid, a.attnum), row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum)
     FROM pg_class AS t JOIN pg_attribute AS a ON a.attrelid = t.oid JOIN pg_type AS y ON y.oid = a.atttypid
          LEFT JOIN pg_attrdef AS d ON d.adrelid = t.oid AND d.adnum = a.attnum
     WHERE t.relkind IN ('r', 'p') AND t.relname IN ('rates', 'shops', 'sales') AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY 1, 13",
    // Best row identifier, privileges, and what belongs to a table.
    "SELECT t.relname, has_table_privilege(t.oid, 'SELECT'), t.relacl::text, t.relhastriggers, t.relrowsecurity, t.relpersistence,
            t.relreplident, obj_description(t.oid, 'pg_class'),
            (SELECT count(*) FROM pg_trigger AS g WHERE g.tgrelid = t.oid AND NOT g.tgisinternal),
            (SELECT string_agg(s.relname, ' ' ORDER BY s.relname) FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid
             WHERE d.refobjid = t.oid AND d.classid = 'pg_class'::regclass AND s.relkind = 'S')
     FROM pg_class AS t WHERE t.relname IN ('rates', 'shops', 'sales') ORDER BY 1",
    // A user without any rights of his own.
    "SET ROLE pg_read_all_data; SELECT table_schema, table_name, privilege_type FROM information_schema.table_privileges
     WHERE table_name IN ('rates', 'shops', 'sales') ORDER BY 1, 2, 3; RESET ROLE",
];

fn shown(connstr: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for command in COMMANDS {
        all.push(((*command).to_owned(), printed(connstr, command)?));
    }
    let session = Session::open(connstr)?;
    for query in QUERIES {
        all.push(((*query).to_owned(), format!("{:#?}", session.rows(query)?)));
    }
    Ok(all)
}

#[test]
fn tools_show_tables_as_plain_ones() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let one = cluster.session(1)?;
    one.run("SET shardman.broadcast_ddl = on")?;
    one.run(&TABLES.replace(['{', '}'], ""))?;
    // Another database of the server: nothing of ours is in force there.
    one.run("CREATE DATABASE elsewhere")?;
    let elsewhere = cluster.connstr(1).replace("dbname=postgres", "dbname=elsewhere");
    let mut plain = String::new();
    for piece in TABLES.split('{') {
        plain += piece.split_once('}').map_or(piece, |(_, rest)| rest);
    }
    Session::open(&elsewhere)?.run(&plain)?;
    let expected = shown(&elsewhere)?;
    let mut differences = String::new();
    for node in 1..=2 {
        for ((what, wanted), (_, got)) in expected.iter().zip(shown(&cluster.connstr(node))?) {
            if got != *wanted {
                differences += &format!("node {node}, {what}\n{got}\nin place of\n{wanted}\n");
            }
        }
    }
    ensure!(differences.is_empty(), "{differences}");
    // Indexes over foreign leaves, which only ON CONFLICT looks at, nobody sees.
    let hidden =
        one.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'shardman_remote'")?;
    ensure!(hidden.is_empty(), "{hidden:?}");
    one.value("SELECT count(*) FROM shops").context("the tables are there")?;
    Ok(())
}
