//! The tables of each system, and the data in them.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;

use crate::keys::{Keys, PARTITIONS};
use crate::system::{Kind, System};
use crate::tools::{Tools, output};

/// A table of the benchmark.
struct Table {
    name: &'static str,
    columns: &'static str,
    distributed_by: &'static str,
    primary_key: &'static str,
    /// Columns with an index of their own.
    index: Option<&'static str>,
}

const TABLES: &[Table] = &[
    Table {
        name: "accounts",
        columns: "id bigint NOT NULL, cust int NOT NULL, balance numeric(14,2) NOT NULL, \
                  opened timestamptz NOT NULL, score double precision NOT NULL, note text NOT NULL",
        distributed_by: "id",
        primary_key: "id",
        index: None,
    },
    Table {
        name: "kv",
        columns: "key bigint NOT NULL, value text NOT NULL",
        distributed_by: "key",
        primary_key: "key",
        index: None,
    },
    Table {
        name: "events",
        columns: EVENT_COLUMNS,
        distributed_by: "key",
        primary_key: "key, id",
        index: Some("ts"),
    },
    // For COPY and large INSERTs; empty between runs.
    Table {
        name: "intake",
        columns: EVENT_COLUMNS,
        distributed_by: "key",
        primary_key: "key, id",
        index: None,
    },
];

const EVENT_COLUMNS: &str = "key bigint NOT NULL, id bigint NOT NULL, grp int NOT NULL, item int NOT NULL, \
     val double precision NOT NULL, ts timestamptz NOT NULL, payload text NOT NULL";

/// Rows of the table that is the same on all servers.
pub const COPIED_ROWS: i64 = 10_000;

/// Rows of one large INSERT into such a table.
const INSERTED_ROWS: i64 = 100_000;

/// Tables with the same rows on every server: replicated ones of ours, plain
/// ones that clients keep equal themselves.
pub fn create_copies(system: &System<'_>) -> anyhow::Result<()> {
    let (with, servers) = match system.kind {
        Kind::Ours => ("WITH (replicated)", 1..=1),
        _ => ("", 1..=system.servers.count()),
    };
    for server in servers {
        system.servers.client(server)?.run(&format!(
            "CREATE TABLE copied (id bigint PRIMARY KEY, n bigint NOT NULL, note text NOT NULL) {with};
             CREATE TABLE copied_intake ({EVENT_COLUMNS}, PRIMARY KEY (key, id)) {with};
             INSERT INTO copied SELECT i, 0, 'row ' || i FROM generate_series(1, {COPIED_ROWS}) AS i"
        ))?;
    }
    system.client()?.run(&format!(
        "CREATE TABLE copied_source ({EVENT_COLUMNS});
         INSERT INTO copied_source {}; ANALYZE copied_source",
        event_rows(INSERTED_ROWS)
    ))
}

/// The files that COPY reads.
#[derive(Default)]
pub struct CopyFiles {
    /// All rows of events.
    pub whole: std::path::PathBuf,
    /// The first tenth of them.
    pub tenth: std::path::PathBuf,
}

/// Makes the tables of `system`. Ours places its partitions itself; stock puts
/// them where `keys` says.
pub fn create(system: &System<'_>, keys: Option<&Keys>) -> anyhow::Result<()> {
    let client = system.client()?;
    for table in TABLES {
        match system.kind {
            Kind::Ours => {
                let with = match table.name {
                    "accounts" => format!("num_parts = {PARTITIONS}"),
                    _ => "colocate_with = 'accounts'".to_owned(),
                };
                client.run(&format!(
                    "CREATE TABLE {} ({}, PRIMARY KEY ({})) WITH (distributed_by = '{}', {with})",
                    table.name, table.columns, table.primary_key, table.distributed_by
                ))?;
                if let Some(columns) = table.index {
                    client.run(&format!("CREATE INDEX ON {} ({columns})", table.name))?;
                }
            }
            Kind::Stock => create_stock(system, table, keys.context("no placement")?)?,
            Kind::Plain => {
                client.run(&format!("CREATE TABLE {} ({})", table.name, table.columns))?;
                client.run(&indexes(table, table.name))?;
            }
        }
    }
    // Empty: only planned for.
    for partitions in [24, 240, 1000] {
        let with = match system.kind {
            Kind::Ours => format!("WITH (distributed_by = 'id', num_parts = {partitions})"),
            Kind::Plain => String::new(),
            Kind::Stock => continue,
        };
        let columns = "id bigint PRIMARY KEY, v int";
        client.run(&format!("CREATE TABLE planned_{partitions} ({columns}) {with}"))?;
    }
    // Keys of a sequence; stock has none that is unique over servers.
    if system.kind != Kind::Stock {
        let with = match system.kind {
            Kind::Ours => format!("WITH (distributed_by = 'id', num_parts = {PARTITIONS})"),
            _ => String::new(),
        };
        let columns = "id bigserial PRIMARY KEY, value text NOT NULL";
        client.run(&format!("CREATE TABLE numbered ({columns}) {with}"))?;
    }
    create_copies(system)?;
    // What a large INSERT reads, and what cannot be evaluated elsewhere: the
    // function exists on the first server only.
    client.run(&format!("CREATE TABLE source ({EVENT_COLUMNS})"))?;
    client.run(
        "CREATE FUNCTION columns_present(VARIADIC \"any\") RETURNS int
         LANGUAGE internal IMMUTABLE PARALLEL SAFE AS 'pg_num_nonnulls'",
    )
}

/// Servers and user mappings of the stock system. Neither encryption is asked for:
/// no server here has one, and the proxy that counts knows messages only.
pub fn create_stock_servers(system: &System<'_>) -> anyhow::Result<()> {
    let client = system.client()?;
    client.run("CREATE EXTENSION postgres_fdw")?;
    for number in 2..=system.servers.count() {
        client.run(&format!(
            "CREATE SERVER node{number} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
                 host '127.0.0.1', port '{}', dbname 'postgres', async_capable 'true',
                 batch_size '1000', fetch_size '10000', use_remote_estimate 'false',
                 sslmode 'disable', gssencmode 'disable')",
            system.servers.port(number)
        ))?;
        client.run(&format!(
            "CREATE USER MAPPING FOR CURRENT_USER SERVER node{number} OPTIONS (user 'postgres')"
        ))?;
    }
    Ok(())
}

/// Where the cluster of ours has placed the partitions: the server, counted
/// from 1, of each.
pub fn placement(system: &System<'_>) -> anyhow::Result<Vec<u16>> {
    let ids = system.servers.member_ids()?;
    let nodes = system.client()?.rows(
        "SELECT node_id FROM shardman.parts WHERE rel = 'accounts'::regclass ORDER BY pnum",
    )?;
    nodes
        .iter()
        .map(|node| {
            let id: i64 = node.parse()?;
            let index = ids.iter().position(|member| *member == id);
            Ok(u16::try_from(index.context("a partition is on an unknown node")?)? + 1)
        })
        .collect()
}

/// Loads the same rows into any system, by statements on its first server.
pub fn load(system: &System<'_>, keys: &Keys, events: i64) -> anyhow::Result<()> {
    let client = system.client()?;
    let last = keys.total_rows() - 1;
    let key = keys.sql_of_row("i");
    client.run(&format!(
        "INSERT INTO accounts
         SELECT {key}, abs(hashint8(i) % 100000), (abs(hashint8(i + 1)::bigint) % 1000000) / 100.0,
                timestamptz '2020-01-01 00:00:00+00' + i * interval '1 minute',
                sqrt(i::double precision), 'account number ' || i
         FROM generate_series(0::bigint, {last}) AS i"
    ))?;
    client.run(&format!(
        "INSERT INTO kv SELECT {key}, 'value ' || i FROM generate_series(0::bigint, {last}) AS i"
    ))?;
    let rows = event_rows(events);
    client.run(&format!("INSERT INTO events {rows}"))?;
    client.run(&format!("INSERT INTO source {rows} LIMIT 10000"))?;
    for table in ["accounts", "kv", "events", "source"] {
        client.run(&format!("ANALYZE {table}"))?;
    }
    // Visibility maps and statistics of what each server holds; foreign tables
    // are left out by VACUUM itself.
    system.servers.run_on_all("VACUUM ANALYZE")?;
    system.servers.run_on_all("CHECKPOINT")
}

/// Says which of the partitions are not where `keys` thinks they are, judged
/// by the plans of the first server.
pub fn misplaced(system: &System<'_>, keys: &Keys) -> anyhow::Result<usize> {
    let client = system.client()?;
    let mut count = 0;
    for server in 1..=system.servers.count() {
        for h in [0, 1, keys.total_rows() / PARTITIONS as i64 - 1] {
            let key = keys.key(server, h)?;
            let plan =
                client.rows(&format!("EXPLAIN SELECT balance FROM accounts WHERE id = {key}"))?;
            let plan = plan.join("\n");
            // By the partition planner, or by the router.
            let is_local = !plan.contains("Foreign") && !plan.contains("Remote SQL");
            count += usize::from(is_local != (server == 1));
        }
    }
    Ok(count)
}

/// Writes the rows of events as CSV, from any system that has them.
pub fn write_copy_files(
    tools: &Tools,
    system: &System<'_>,
    dir: &Path,
    events: i64,
) -> anyhow::Result<CopyFiles> {
    let files = CopyFiles { whole: dir.join("events.csv"), tenth: dir.join("events-tenth.csv") };
    for (path, rows) in [(&files.whole, events), (&files.tenth, events / 10)] {
        let mut psql = tools.postgres("psql");
        psql.args(["--no-psqlrc", "--quiet", "--host=127.0.0.1", "--username=postgres"]);
        psql.arg(format!("--port={}", system.servers.port(1)));
        let sql = format!("COPY (SELECT * FROM events WHERE id <= {rows}) TO STDOUT (FORMAT csv)");
        psql.args(["--command", &sql, "--output"]).arg(path).arg("postgres");
        psql.stdin(Stdio::null());
        output(psql, "psql")?;
    }
    Ok(files)
}

/// 10 events a key, 1000 groups, distinct times in another order than the ids.
fn event_rows(events: i64) -> String {
    let keys = events / 10;
    format!(
        "SELECT i % {keys}, i, abs(hashint8(i) % 1000), abs(hashint8(i + 7) % 300000),
                (abs(hashint8(i + 13)::bigint) % 40000) / 4.0,
                timestamptz '2026-01-01 00:00:00+00' + (i * 7919 % {events}) * interval '1 second',
                'payload ' || md5(i::text)
         FROM generate_series(1::bigint, {events}) AS i"
    )
}

fn create_stock(system: &System<'_>, table: &Table, keys: &Keys) -> anyhow::Result<()> {
    let first = system.client()?;
    let (name, columns) = (table.name, table.columns);
    let by = table.distributed_by;
    first.run(&format!("CREATE TABLE {name} ({columns}) PARTITION BY HASH ({by})"))?;
    for (part, &server) in keys.placement().iter().enumerate() {
        let leaf = format!("{name}_{part}");
        let bounds = format!("FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {part})");
        if server == 1 {
            first.run(&format!("CREATE TABLE {leaf} PARTITION OF {name} {bounds}"))?;
            first.run(&indexes(table, &leaf))?;
        } else {
            let owner = system.servers.client(server)?;
            owner.run(&format!("CREATE TABLE {leaf} ({columns})"))?;
            owner.run(&indexes(table, &leaf))?;
            first.run(&format!(
                "CREATE FOREIGN TABLE {leaf} PARTITION OF {name} {bounds}
                 SERVER node{server} OPTIONS (table_name '{leaf}')"
            ))?;
        }
    }
    Ok(())
}

/// Statements for the indexes of the table or leaf `relation`.
fn indexes(table: &Table, relation: &str) -> String {
    let key = format!("ALTER TABLE {relation} ADD PRIMARY KEY ({})", table.primary_key);
    match table.index {
        Some(columns) => format!("{key}; CREATE INDEX ON {relation} ({columns})"),
        None => key,
    }
}
