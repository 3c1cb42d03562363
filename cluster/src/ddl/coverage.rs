//! Every kind of DDL statement and where it takes effect. `docs/ddl.md` is
//! printed from this table.

use std::fmt::Write;

/// What a statement about a sharded table does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSharded {
    /// The same on every node, in the user's transaction.
    EveryNode,
    /// On the nodes that hold the rows, outside managed DDL.
    Owners,
    /// On this node's own partitions only.
    ThisNode,
    /// An error that says why.
    Refused,
    /// The statement is never about a table.
    NotApplicable,
}

/// What the same statement does about anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Local; the same on every node under `shardman.broadcast_ddl`.
    Broadcast,
    /// Local; on every node, one after the other, under
    /// `shardman.broadcast_ddl`.
    Job,
    /// Always local.
    ThisNode,
}

/// One kind of statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// PostgreSQL's command tag.
    pub tag: &'static str,
    /// About a sharded table, its columns, indexes, constraints, triggers, ….
    pub on_sharded: OnSharded,
    /// About anything else.
    pub elsewhere: Elsewhere,
    /// What a reader should know; why, where something is refused or local.
    pub note: &'static str,
}

const fn on_tables(tag: &'static str, on_sharded: OnSharded, note: &'static str) -> Coverage {
    Coverage { tag, on_sharded, elsewhere: Elsewhere::Broadcast, note }
}

const fn broadcast(tag: &'static str) -> Coverage {
    let on_sharded = OnSharded::NotApplicable;
    Coverage { tag, on_sharded, elsewhere: Elsewhere::Broadcast, note: "" }
}

const fn on_sequences(tag: &'static str) -> Coverage {
    let (on_sharded, elsewhere) = (OnSharded::EveryNode, Elsewhere::ThisNode);
    Coverage { tag, on_sharded, elsewhere, note: SEQUENCES }
}

const fn of_roles(tag: &'static str) -> Coverage {
    Coverage {
        note: "always every node for managed roles, the members of `global`",
        ..broadcast(tag)
    }
}

const fn local(tag: &'static str, note: &'static str) -> Coverage {
    let on_sharded = OnSharded::NotApplicable;
    Coverage { tag, on_sharded, elsewhere: Elsewhere::ThisNode, note }
}

const NO_TRANSACTION: &str = "cannot run inside a transaction";
const NODE_BY_NODE: &str = "each node in transactions of its own";
const REINDEX: &str =
    "each node in transactions of its own; CONCURRENTLY, of a table or an index, is a job";
const SPACES: &str =
    "on every node also with {rgid} in the location or WITH (global), whatever broadcast_ddl is";
const SHARED: &str = "a server's own matter";
const SEQUENCES: &str = "managed sequences: docs/sequences.md";
const OWN_ROWS: &str = "its rows come from a query that each node would run again";
const RULES: &str = "a rule would be applied on the node that takes the statement and again on the node that holds the row";

/// All kinds, in the order of their command tags.
pub const COVERAGE: &[Coverage] = &[
    broadcast("ALTER AGGREGATE"),
    broadcast("ALTER COLLATION"),
    broadcast("ALTER CONVERSION"),
    local("ALTER DATABASE", SHARED),
    broadcast("ALTER DEFAULT PRIVILEGES"),
    broadcast("ALTER DOMAIN"),
    broadcast("ALTER EVENT TRIGGER"),
    broadcast("ALTER EXTENSION"),
    broadcast("ALTER FOREIGN DATA WRAPPER"),
    broadcast("ALTER FOREIGN TABLE"),
    broadcast("ALTER FUNCTION"),
    on_tables("ALTER INDEX", OnSharded::EveryNode, "not ATTACH PARTITION"),
    broadcast("ALTER LANGUAGE"),
    local("ALTER LARGE OBJECT", SHARED),
    local("ALTER MATERIALIZED VIEW", OWN_ROWS),
    broadcast("ALTER OPERATOR"),
    broadcast("ALTER OPERATOR CLASS"),
    broadcast("ALTER OPERATOR FAMILY"),
    on_tables("ALTER POLICY", OnSharded::EveryNode, ""),
    broadcast("ALTER PROCEDURE"),
    local("ALTER PUBLICATION", SHARED),
    of_roles("ALTER ROLE"),
    broadcast("ALTER ROUTINE"),
    on_tables("ALTER RULE", OnSharded::Refused, RULES),
    on_tables("ALTER SCHEMA", OnSharded::EveryNode, "of a schema that holds sharded tables"),
    on_sequences("ALTER SEQUENCE"),
    broadcast("ALTER SERVER"),
    on_tables("ALTER STATISTICS", OnSharded::EveryNode, ""),
    local("ALTER SUBSCRIPTION", SHARED),
    local("ALTER SYSTEM", SHARED),
    on_tables(
        "ALTER TABLE",
        OnSharded::EveryNode,
        "not ATTACH and DETACH PARTITION, SET UNLOGGED, SET TABLESPACE, foreign keys, rules; keys not together with other changes",
    ),
    local("ALTER TABLESPACE", SHARED),
    broadcast("ALTER TEXT SEARCH CONFIGURATION"),
    broadcast("ALTER TEXT SEARCH DICTIONARY"),
    broadcast("ALTER TEXT SEARCH PARSER"),
    broadcast("ALTER TEXT SEARCH TEMPLATE"),
    on_tables("ALTER TRIGGER", OnSharded::EveryNode, ""),
    broadcast("ALTER TYPE"),
    broadcast("ALTER USER MAPPING"),
    broadcast("ALTER VIEW"),
    Coverage {
        tag: "ANALYZE",
        on_sharded: OnSharded::Owners,
        elsewhere: Elsewhere::ThisNode,
        note: "and samples of all partitions for this node's planner; for that of every node: `shardman.global_analyze()`",
    },
    Coverage {
        tag: "CLUSTER",
        on_sharded: OnSharded::Owners,
        elsewhere: Elsewhere::ThisNode,
        note: NODE_BY_NODE,
    },
    on_tables("COMMENT", OnSharded::EveryNode, ""),
    broadcast("CREATE ACCESS METHOD"),
    broadcast("CREATE AGGREGATE"),
    broadcast("CREATE CAST"),
    broadcast("CREATE COLLATION"),
    broadcast("CREATE CONVERSION"),
    local("CREATE DATABASE", NO_TRANSACTION),
    broadcast("CREATE DOMAIN"),
    broadcast("CREATE EVENT TRIGGER"),
    broadcast("CREATE EXTENSION"),
    broadcast("CREATE FOREIGN DATA WRAPPER"),
    broadcast("CREATE FOREIGN TABLE"),
    broadcast("CREATE FUNCTION"),
    on_tables("CREATE INDEX", OnSharded::EveryNode, "CONCURRENTLY as a job"),
    broadcast("CREATE LANGUAGE"),
    local("CREATE MATERIALIZED VIEW", OWN_ROWS),
    broadcast("CREATE OPERATOR"),
    broadcast("CREATE OPERATOR CLASS"),
    broadcast("CREATE OPERATOR FAMILY"),
    on_tables("CREATE POLICY", OnSharded::EveryNode, ""),
    broadcast("CREATE PROCEDURE"),
    local("CREATE PUBLICATION", SHARED),
    of_roles("CREATE ROLE"),
    on_tables("CREATE RULE", OnSharded::Refused, RULES),
    broadcast("CREATE SCHEMA"),
    Coverage { elsewhere: Elsewhere::Broadcast, ..on_sequences("CREATE SEQUENCE") },
    broadcast("CREATE SERVER"),
    on_tables("CREATE STATISTICS", OnSharded::EveryNode, ""),
    local("CREATE SUBSCRIPTION", SHARED),
    on_tables("CREATE TABLE", OnSharded::EveryNode, "temporary tables are always local"),
    Coverage {
        on_sharded: OnSharded::EveryNode,
        ..local(
            "CREATE TABLE AS",
            "with distributed_by the rows go where they belong; otherwise a table of this node",
        )
    },
    Coverage { elsewhere: Elsewhere::Job, ..local("CREATE TABLESPACE", SPACES) },
    broadcast("CREATE TEXT SEARCH CONFIGURATION"),
    broadcast("CREATE TEXT SEARCH DICTIONARY"),
    broadcast("CREATE TEXT SEARCH PARSER"),
    broadcast("CREATE TEXT SEARCH TEMPLATE"),
    broadcast("CREATE TRANSFORM"),
    on_tables(
        "CREATE TRIGGER",
        OnSharded::EveryNode,
        "row triggers fire on the node that holds the row, statement triggers on the node that takes the statement",
    ),
    broadcast("CREATE TYPE"),
    broadcast("CREATE USER MAPPING"),
    broadcast("CREATE VIEW"),
    broadcast("DROP ACCESS METHOD"),
    broadcast("DROP AGGREGATE"),
    broadcast("DROP CAST"),
    broadcast("DROP COLLATION"),
    broadcast("DROP CONVERSION"),
    local("DROP DATABASE", NO_TRANSACTION),
    broadcast("DROP DOMAIN"),
    broadcast("DROP EVENT TRIGGER"),
    broadcast("DROP EXTENSION"),
    broadcast("DROP FOREIGN DATA WRAPPER"),
    broadcast("DROP FOREIGN TABLE"),
    broadcast("DROP FUNCTION"),
    on_tables("DROP INDEX", OnSharded::EveryNode, "CONCURRENTLY as a job"),
    broadcast("DROP LANGUAGE"),
    local("DROP MATERIALIZED VIEW", OWN_ROWS),
    broadcast("DROP OPERATOR"),
    broadcast("DROP OPERATOR CLASS"),
    broadcast("DROP OPERATOR FAMILY"),
    on_tables("DROP OWNED", OnSharded::Refused, "drop sharded tables with DROP TABLE first"),
    on_tables("DROP POLICY", OnSharded::EveryNode, ""),
    broadcast("DROP PROCEDURE"),
    local("DROP PUBLICATION", SHARED),
    of_roles("DROP ROLE"),
    broadcast("DROP ROUTINE"),
    on_tables("DROP RULE", OnSharded::Refused, RULES),
    on_tables("DROP SCHEMA", OnSharded::Refused, "drop sharded tables in it with DROP TABLE first"),
    on_sequences("DROP SEQUENCE"),
    broadcast("DROP SERVER"),
    on_tables("DROP STATISTICS", OnSharded::EveryNode, ""),
    local("DROP SUBSCRIPTION", SHARED),
    on_tables("DROP TABLE", OnSharded::EveryNode, ""),
    Coverage { elsewhere: Elsewhere::Job, ..local("DROP TABLESPACE", SPACES) },
    broadcast("DROP TEXT SEARCH CONFIGURATION"),
    broadcast("DROP TEXT SEARCH DICTIONARY"),
    broadcast("DROP TEXT SEARCH PARSER"),
    broadcast("DROP TEXT SEARCH TEMPLATE"),
    broadcast("DROP TRANSFORM"),
    on_tables("DROP TRIGGER", OnSharded::EveryNode, ""),
    broadcast("DROP TYPE"),
    broadcast("DROP USER MAPPING"),
    broadcast("DROP VIEW"),
    on_tables("GRANT", OnSharded::EveryNode, ""),
    of_roles("GRANT ROLE"),
    local(
        "IMPORT FOREIGN SCHEMA",
        "it reads another server, which a transaction of several nodes cannot take in; broadcast CREATE FOREIGN TABLE",
    ),
    Coverage {
        tag: "LOCK TABLE",
        on_sharded: OnSharded::EveryNode,
        elsewhere: Elsewhere::ThisNode,
        note: "every node's copy of the parent, and all partitions; ACCESS SHARE on this node only",
    },
    on_tables("REASSIGN OWNED", OnSharded::EveryNode, ""),
    local("REFRESH MATERIALIZED VIEW", OWN_ROWS),
    Coverage {
        tag: "REINDEX",
        on_sharded: OnSharded::Owners,
        elsewhere: Elsewhere::ThisNode,
        note: REINDEX,
    },
    on_tables("REVOKE", OnSharded::EveryNode, ""),
    of_roles("REVOKE ROLE"),
    on_tables("SECURITY LABEL", OnSharded::EveryNode, ""),
    local("SELECT INTO", OWN_ROWS),
    Coverage {
        tag: "TRUNCATE TABLE",
        on_sharded: OnSharded::Owners,
        elsewhere: Elsewhere::ThisNode,
        note: "",
    },
    Coverage {
        tag: "VACUUM",
        on_sharded: OnSharded::Owners,
        elsewhere: Elsewhere::ThisNode,
        note: NODE_BY_NODE,
    },
];

/// The row of a command tag; `None` for what is no DDL.
pub fn coverage_of(tag: &str) -> Option<&'static Coverage> {
    let at = COVERAGE.binary_search_by(|row| row.tag.cmp(tag)).ok()?;
    COVERAGE.get(at)
}

/// The page `docs/ddl.md`.
pub fn print_coverage() -> String {
    let mut page = String::from(
        "# Where a schema change takes effect\n\n\
         Printed from `cluster/src/ddl/coverage.rs` by `UPDATE_DOCS=1 cargo test -p cluster`; do not edit.\n\n\
         *On sharded tables*: statements about a sharded table, its columns, indexes, constraints, triggers, policies.\n\
         *Everything else*: \"broadcast\" is this node only, and every node while `shardman.broadcast_ddl` is on.\n\n\
         | statement | on sharded tables | everything else | remarks |\n| --- | --- | --- | --- |\n",
    );
    for row in COVERAGE {
        let on_sharded = match row.on_sharded {
            OnSharded::EveryNode => "every node",
            OnSharded::Owners => "the nodes that hold rows",
            OnSharded::ThisNode => "this node's partitions",
            OnSharded::Refused => "refused",
            OnSharded::NotApplicable => "",
        };
        let elsewhere = match row.elsewhere {
            Elsewhere::Broadcast => "broadcast",
            Elsewhere::Job => "broadcast, as a job",
            Elsewhere::ThisNode => "this node",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| {} | {on_sharded} | {elsewhere} | {} |", row.tag, row.note);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_unique_and_in_the_order_that_the_search_expects() {
        for (row, next) in COVERAGE.iter().zip(&COVERAGE[1..]) {
            assert!(row.tag < next.tag, "{} stands before {}", row.tag, next.tag);
        }
        assert!(COVERAGE.iter().all(|row| coverage_of(row.tag) == Some(row)));
    }

    #[test]
    fn whatever_is_refused_says_why() {
        for row in COVERAGE {
            assert!(row.on_sharded != OnSharded::Refused || !row.note.is_empty(), "{}", row.tag);
        }
    }

    #[test]
    fn the_documentation_is_that_of_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ddl.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, print_coverage()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), print_coverage());
    }
}
