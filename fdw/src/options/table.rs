//! Every option, once: what may carry it, what it may hold, what it does.

use pgrx::pg_sys;

/// What an option belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// CREATE SERVER
    Server,
    /// CREATE USER MAPPING
    UserMapping,
    /// CREATE FOREIGN TABLE
    Table,
    /// A column of a foreign table
    Column,
}

impl Carrier {
    /// From the catalogue that PostgreSQL's validator call names.
    pub fn of_catalog(catalog: pg_sys::Oid) -> Option<Carrier> {
        match catalog {
            pg_sys::ForeignServerRelationId => Some(Carrier::Server),
            pg_sys::UserMappingRelationId => Some(Carrier::UserMapping),
            pg_sys::ForeignTableRelationId => Some(Carrier::Table),
            pg_sys::AttributeRelationId => Some(Carrier::Column),
            _ => None,
        }
    }
}

/// What an option may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// As boolin takes it.
    Boolean,
    /// Both ends inclusive.
    Integer(i64, i64),
    /// At least this.
    Number(f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// One option.
pub struct OptionSpec {
    /// As written in OPTIONS.
    pub name: &'static str,
    /// Where it may stand.
    pub carriers: &'static [Carrier],
    /// Its values.
    pub kind: Kind,
    /// The effect, one sentence; the reference manual is made from it.
    #[allow(dead_code)]
    pub doc: &'static str,
}

use Carrier::{Column, Server, Table, UserMapping};

const fn option(
    name: &'static str,
    carriers: &'static [Carrier],
    kind: Kind,
    doc: &'static str,
) -> OptionSpec {
    OptionSpec { name, carriers, kind, doc }
}

/// Alphabetical.
pub const OPTIONS: &[OptionSpec] = &[
    option(
        "analyze_sampling",
        &[Server, Table],
        Kind::OneOf(&["off", "auto", "random", "system", "bernoulli"]),
        "How ANALYZE has the other side pick rows: off sends all; auto, the default, is bernoulli where the relation can be sampled.",
    ),
    option(
        "application_name",
        &[Server],
        Kind::Text,
        "Name of the remote session in pg_stat_activity; shardman by default.",
    ),
    option(
        "async_capable",
        &[Server, Table],
        Kind::Boolean,
        "Whether scans may run at the same time as those of other servers; on for nodes of a cluster, off otherwise.",
    ),
    option(
        "batch_size",
        &[Server, Table],
        Kind::Integer(1, 65535),
        "Rows of one remote INSERT; 1000 by default.",
    ),
    option(
        "column_name",
        &[Column],
        Kind::Text,
        "Name of the remote column; that of the local one by default.",
    ),
    option(
        "connect_timeout",
        &[Server],
        Kind::Integer(1, 3600),
        "Seconds that each of the server's addresses gets to answer; 10 by default.",
    ),
    option("dbname", &[Server], Kind::Text, "Remote database; that of the user's name by default."),
    option(
        "fdw_startup_cost",
        &[Server],
        Kind::Number(0.0),
        "Planner's cost of beginning a foreign scan; 100 by default.",
    ),
    option(
        "fdw_tuple_cost",
        &[Server],
        Kind::Number(0.0),
        "Planner's cost of a row that travels; 0.01 by default.",
    ),
    option(
        "fetch_size",
        &[Server, Table],
        Kind::Integer(1, i32::MAX as i64),
        "Upper bound of the rows fetched at once; unlimited by default.",
    ),
    option(
        "host",
        &[Server],
        Kind::Text,
        "Host name, address or socket directory; localhost by default.",
    ),
    option("password", &[UserMapping], Kind::Text, "Secret of the remote role."),
    option(
        "password_required",
        &[UserMapping],
        Kind::Boolean,
        "Whether a mapping of a user who is no superuser needs a password; only superusers may set it to false.",
    ),
    option("port", &[Server], Kind::Integer(1, 65535), "Port; 5432 by default."),
    option(
        "schema_name",
        &[Table],
        Kind::Text,
        "Schema of the remote table; that of the local one by default.",
    ),
    option(
        "table_name",
        &[Table],
        Kind::Text,
        "Name of the remote table; that of the local one by default.",
    ),
    option(
        "truncatable",
        &[Server, Table],
        Kind::Boolean,
        "Whether TRUNCATE is allowed; on by default.",
    ),
    option(
        "updatable",
        &[Server, Table],
        Kind::Boolean,
        "Whether INSERT, UPDATE and DELETE are allowed; on by default.",
    ),
    option(
        "user",
        &[UserMapping],
        Kind::Text,
        "Remote role; that of the local user's name by default.",
    ),
];
