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
    /// IMPORT FOREIGN SCHEMA
    Import,
}

impl Carrier {
    /// The command whose OPTIONS it is.
    pub fn command(self) -> &'static str {
        match self {
            Carrier::Server => "CREATE SERVER",
            Carrier::UserMapping => "CREATE USER MAPPING",
            Carrier::Table => "CREATE FOREIGN TABLE",
            Carrier::Column => "a column of CREATE FOREIGN TABLE",
            Carrier::Import => "IMPORT FOREIGN SCHEMA",
        }
    }

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
    /// Identifiers, separated by commas.
    Names,
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
    /// What holds where it does not stand; empty if nothing does.
    pub default: &'static str,
    /// The effect, one sentence.
    pub doc: &'static str,
}

use Carrier::{Column, Import, Server, Table, UserMapping};

const fn option(
    name: &'static str,
    carriers: &'static [Carrier],
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> OptionSpec {
    OptionSpec { name, carriers, kind, default, doc }
}

/// Alphabetical.
#[rustfmt::skip]
pub const OPTIONS: &[OptionSpec] = &[
    option("analyze_sampling", &[Server, Table],
        Kind::OneOf(&["off", "auto", "random", "system", "bernoulli"]), "auto",
        "How ANALYZE has the other side pick rows; off sends all, auto is bernoulli where the relation can be sampled."),
    option("application_name", &[Server], Kind::Text, "shardman",
        "Name of the remote session in pg_stat_activity."),
    option("async_capable", &[Server, Table], Kind::Boolean, "on for nodes of a cluster, off otherwise",
        "Whether scans may run at the same time as those of other servers."),
    option("batch_size", &[Server, Table], Kind::Integer(1, 65535), "1000",
        "Rows of one remote INSERT."),
    option("column_name", &[Column], Kind::Text, "that of the local one",
        "Name of the remote column."),
    option("connect_timeout", &[Server], Kind::Integer(1, 3600), "10",
        "Seconds that each of the server's addresses gets to answer."),
    option("dbname", &[Server], Kind::Text, "that of the user's name",
        "Remote database."),
    option("extensions", &[Server], Kind::Names, "",
        "Extensions that the server has too, in the same version and schema, separated by commas: their immutable functions and operators are sent."),
    option("fdw_startup_cost", &[Server], Kind::Number(0.0), "100",
        "Planner's cost of beginning a foreign scan."),
    option("fdw_tuple_cost", &[Server], Kind::Number(0.0), "0.01",
        "Planner's cost of a row that travels."),
    option("fetch_size", &[Server, Table], Kind::Integer(1, i32::MAX as i64), "no bound",
        "Upper bound of the rows fetched at once."),
    option("host", &[Server], Kind::Text, "localhost",
        "Host name, address or socket directory."),
    option("hostaddr", &[Server], Kind::Text, "",
        "Address to connect to instead of looking up host."),
    option("import_collate", &[Import], Kind::Boolean, "on",
        "Whether columns get the remote ones' collations."),
    option("import_default", &[Import], Kind::Boolean, "off",
        "Whether columns get the remote ones' defaults."),
    option("import_generated", &[Import], Kind::Boolean, "on",
        "Whether generated columns are generated here too."),
    option("import_not_null", &[Import], Kind::Boolean, "on",
        "Whether columns get the remote ones' NOT NULL."),
    option("keep_connections", &[Server], Kind::Boolean, "on",
        "Whether sessions stay open for the next transaction."),
    option("options", &[Server], Kind::Text, "",
        "Command-line options of the remote session, such as -c work_mem=1GB."),
    option("parallel_commit", &[Server], Kind::Boolean, "on",
        "Accepted for scripts written for postgres_fdw: transactions on several servers always end in parallel."),
    option("password", &[UserMapping], Kind::Text, "",
        "Secret of the remote role."),
    option("password_required", &[UserMapping], Kind::Boolean, "on",
        "Whether a mapping of a user who is no superuser needs a password; only superusers may set it to false."),
    option("port", &[Server], Kind::Integer(1, 65535), "5432",
        "Port."),
    option("schema_name", &[Table], Kind::Text, "that of the local one",
        "Schema of the remote table."),
    option("sslmode", &[Server], Kind::OneOf(&["disable", "allow", "prefer"]), "disable",
        "Accepted where libpq would do without TLS too: connections are not encrypted."),
    option("table_name", &[Table], Kind::Text, "that of the local one",
        "Name of the remote table."),
    option("truncatable", &[Server, Table], Kind::Boolean, "on",
        "Whether TRUNCATE is allowed."),
    option("updatable", &[Server, Table], Kind::Boolean, "on",
        "Whether INSERT, UPDATE and DELETE are allowed."),
    option("use_remote_estimate", &[Server, Table], Kind::Boolean, "off",
        "Whether the planner asks the server what scanning a table costs; otherwise ANALYZE of the foreign table tells, and in joins its size and indexes over there."),
    option("user", &[UserMapping], Kind::Text, "that of the local user's name",
        "Remote role."),
];

impl OptionSpec {
    /// What it may hold, in words.
    pub fn values(&self) -> String {
        match self.kind {
            Kind::Text => "text".to_string(),
            Kind::Boolean => "Boolean".to_string(),
            Kind::Integer(min, max) => format!("integer from {min} to {max}"),
            Kind::Number(min) => format!("number from {min}"),
            Kind::Names => "names".to_owned(),
            Kind::OneOf(words) => words.join(", "),
        }
    }
}

/// Options that postgres_fdw has, or libpq through it, and this wrapper has not,
/// with the reason.
#[rustfmt::skip]
pub const ABSENT: &[(&[&str], &str)] = &[
    (&["channel_binding", "gssencmode", "krbsrvname", "gsslib", "requirepeer", "sslcert", "sslcompression", "sslcrl",
       "sslcrldir", "sslkey", "sslpassword", "sslrootcert", "sslsni", "ssl_min_protocol_version",
       "ssl_max_protocol_version"],
        "Connections use neither TLS nor GSSAPI."),
    (&["keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "tcp_user_timeout"],
        "The system's settings of TCP apply."),
    (&["passfile", "service"], "What a connection needs stands in the server and the user mapping."),
    (&["replication", "target_session_attrs", "load_balance_hosts"], "A server is one place that is written to and read."),
    (&["client_encoding", "fallback_application_name"], "The wrapper sets it."),
];
