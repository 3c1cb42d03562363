//! Each row of `docs/ddl.md` says where a statement takes effect. Here each row
//! has a statement that is run on a node without partitions of its table, and
//! all nodes are looked at.

mod statements;

use anyhow::{Context, ensure};
use cluster::ddl::{COVERAGE, Coverage, Elsewhere, OnSharded, coverage_of};
use regress::{Session, Shape, TestCluster};
use statements::{About, STATEMENTS, WITHOUT_STATEMENT};

const NODES: u16 = 3;
const NO_OPEN_TRANSACTION: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE usename = 'shardman_node' AND state LIKE 'idle in transaction%'";

/// What of a node a statement may change.
type State = Vec<Vec<Option<String>>>;

struct Stage {
    cluster: TestCluster,
    nodes: Vec<Session>,
    /// Has no partition of the first sharded table, and takes the statements.
    here: usize,
    state_query: String,
}

impl Stage {
    fn set() -> anyhow::Result<Self> {
        let config = &["allow_in_place_tablespaces=on", "autovacuum=off"];
        let cluster = TestCluster::start(&Shape { nodes: NODES, is_plain: false, config })?;
        let nodes = (1..=NODES).map(|node| cluster.session(node));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        // Every row of every system catalogue that is new or gone shows.
        let catalogs = nodes[0].value(
            "SELECT string_agg(format('SELECT %L, count(*), max(xmin::text::bigint) FROM pg_catalog.%I', relname, relname), ' UNION ALL ')
             FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'",
        )?;
        let state_query = format!(
            "{catalogs} UNION ALL SELECT name, 0, length(setting) FROM pg_file_settings
             UNION ALL SELECT 'vacuum ' || relname, vacuum_count, analyze_count
                       FROM pg_stat_all_tables WHERE relname ~ '^(shard_|cov_)'
             ORDER BY 1, 2, 3"
        );
        // A table of two partitions: one of three nodes has none.
        nodes[0]
            .run("CREATE TABLE probe (id integer) WITH (distributed_by = 'id', num_parts = 2)")?;
        let mut here = None;
        for (at, node) in (0u16..).zip(&nodes) {
            let id = cluster.member_id(at + 1)?;
            let owned =
                node.integer(&format!("SELECT count(*) FROM shardman.parts WHERE node_id = {id}"))?;
            if owned == 0 {
                here = Some(usize::from(at));
            }
        }
        nodes[0].run("DROP TABLE probe")?;
        let here = here.context("two partitions are on three nodes")?;
        Ok(Self { cluster, nodes, here, state_query })
    }

    fn state(&self) -> anyhow::Result<Vec<State>> {
        self.nodes.iter().map(|node| node.rows(&self.state_query)).collect()
    }

    /// Which nodes a statement changes.
    fn changed_by(&self, sql: &str) -> anyhow::Result<Vec<usize>> {
        let before = self.state()?;
        self.nodes[self.here].run(sql)?;
        let after = self.state()?;
        Ok((0..before.len()).filter(|node| before[*node] != after[*node]).collect())
    }

    fn all(&self) -> Vec<usize> {
        (0..self.nodes.len()).collect()
    }

    fn others(&self) -> impl Iterator<Item = usize> {
        self.all().into_iter().filter(|node| *node != self.here)
    }

    /// The nodes that hold rows of the sharded table.
    fn owners(&self) -> anyhow::Result<Vec<usize>> {
        let held = "SELECT count(*) FROM shardman.parts
                    WHERE rel = 'cov_home.t'::regclass AND node_id = shardman.my_id()";
        let mut owners = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if node.integer(held)? > 0 {
                owners.push(at);
            }
        }
        Ok(owners)
    }

    /// Has all nodes but this one take part in `sql`, by what it locks.
    fn locks_everywhere(&self, sql: &str, table: &str) -> anyhow::Result<bool> {
        let locks = format!(
            "SELECT count(*) FROM pg_locks
             WHERE relation = '{table}'::regclass AND mode = 'AccessExclusiveLock' AND granted"
        );
        self.nodes[self.here].run(&format!("BEGIN; {sql}"))?;
        let mut found = Vec::new();
        for node in self.others() {
            found.push(self.nodes[node].integer(&locks)?);
        }
        self.nodes[self.here].run("ROLLBACK")?;
        Ok(found.iter().all(|count| *count > 0))
    }

    /// Whether a statement involves no other node.
    fn stays_here(&self, sql: &str) -> anyhow::Result<()> {
        self.nodes[self.here].run(&format!("BEGIN; {sql}"))?;
        for node in self.others() {
            ensure!(self.nodes[node].integer(NO_OPEN_TRANSACTION)? == 0, "another node takes part");
        }
        self.nodes[self.here].run("ROLLBACK")
    }

    fn check_sharded(&self, row: &Coverage, sql: &str) -> anyhow::Result<()> {
        let node = &self.nodes[self.here];
        node.run("SET shardman.broadcast_ddl = off")?;
        if row.tag == "LOCK TABLE" {
            ensure!(self.locks_everywhere(sql, "cov_home.t")?, "it is not locked everywhere");
            return Ok(());
        }
        let expected = match row.on_sharded {
            OnSharded::EveryNode => self.all(),
            // Samples go to the planner that asked.
            OnSharded::Owners if row.tag == "ANALYZE" => self.all(),
            OnSharded::Owners => self.owners()?,
            OnSharded::ThisNode => {
                let changed = self.changed_by(sql)?;
                ensure!(changed.iter().all(|node| *node == self.here), "it changes {changed:?}");
                return Ok(());
            }
            OnSharded::Refused => {
                let before = self.state()?;
                let error = node.failure(sql)?;
                ensure!(error.code().code() != "XX000", "{}", error.message());
                ensure!(error.detail().is_some(), "no reason is given: {}", error.message());
                ensure!(before == self.state()?, "it changes something");
                return Ok(());
            }
            OnSharded::NotApplicable => anyhow::bail!("the row says nothing of sharded tables"),
        };
        let changed = self.changed_by(sql)?;
        ensure!(changed == expected, "it changes {changed:?}, not {expected:?}");
        let digests = self.nodes.iter().map(|node| node.value("SELECT shardman.schema_digest()"));
        let digests = digests.collect::<Result<Vec<_>, _>>()?;
        ensure!(digests.iter().all(|digest| *digest == digests[0]), "schemas differ");
        Ok(())
    }

    fn check_other(&self, row: &Coverage, sql: &str) -> anyhow::Result<()> {
        let node = &self.nodes[self.here];
        if row.elsewhere == Elsewhere::Broadcast {
            node.run("SET shardman.broadcast_ddl = off")?;
            self.stays_here(sql)?;
        }
        node.run("SET shardman.broadcast_ddl = on")?;
        if row.tag == "LOCK TABLE" {
            ensure!(!self.locks_everywhere(sql, "cov_plain")?, "it is locked elsewhere");
            return Ok(());
        }
        let expected = match row.elsewhere {
            Elsewhere::Broadcast | Elsewhere::Job => self.all(),
            Elsewhere::ThisNode => vec![self.here],
        };
        let changed = self.changed_by(sql)?;
        ensure!(changed == expected, "it changes {changed:?}, not {expected:?}");
        Ok(())
    }

    fn check(&self, tag: &str, about: About, sql: &str) -> anyhow::Result<()> {
        let node = &self.nodes[self.here];
        if about == About::Stage {
            let sql = sql.replace("@port@", &self.cluster.port(1).to_string());
            return node.run("SET shardman.broadcast_ddl = on").and_then(|()| node.run(&sql));
        }
        let row = coverage_of(tag).with_context(|| format!("there is no row {tag}"))?;
        match about {
            About::Sharded => self.check_sharded(row, sql),
            _ => self.check_other(row, sql),
        }
    }
}

#[test]
fn a_statement_takes_effect_where_its_row_says() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let mut failures = Vec::new();
    for (tag, about, sql) in STATEMENTS {
        if let Err(error) = stage.check(tag, *about, sql) {
            stage.nodes[stage.here].run("ROLLBACK")?;
            failures.push(format!("{tag}, {about:?}: {error:#}\n    {sql}"));
        }
    }
    ensure!(
        failures.is_empty(),
        "{} of the table is not so:\n{}",
        failures.len(),
        failures.join("\n")
    );
    Ok(())
}

#[test]
fn every_row_has_a_statement() {
    for row in COVERAGE {
        let has = |about| STATEMENTS.iter().any(|(tag, it, _)| *tag == row.tag && *it == about);
        if WITHOUT_STATEMENT.iter().any(|(tag, _)| *tag == row.tag) {
            continue;
        }
        assert!(has(About::Other), "{} has no statement", row.tag);
        let is_about_sharded = row.on_sharded != OnSharded::NotApplicable;
        assert_eq!(has(About::Sharded), is_about_sharded, "{} on sharded tables", row.tag);
    }
}
