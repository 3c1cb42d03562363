//! Connection strings as users give them.

use pgrx::prelude::*;
use tokio_postgres::config::{Config, Host};

use crate::report::Report;
use crate::settings;

/// A server as another one reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name, address, or directory of a Unix socket.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database.
    pub dbname: String,
    /// Who logs in; the cluster has its own role and ignores it.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<String>,
}

impl Address {
    /// Reads libpq keywords or a URI.
    pub fn parse(connstr: &str) -> Result<Self, Report> {
        // The offending text is not repeated: it may hold a password.
        let invalid = |detail: String| {
            Report::new(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "invalid connection string",
            )
            .detail(detail)
            .hint("Write for example 'host=10.0.0.5 port=5432 dbname=postgres user=postgres'.")
        };
        let config: Config =
            connstr.parse().map_err(|error: tokio_postgres::Error| invalid(error.to_string()))?;
        let host = match config.get_hosts() {
            [Host::Tcp(name)] => name.clone(),
            [Host::Unix(directory)] => directory.to_string_lossy().into_owned(),
            [] => return Err(invalid("It names no host.".into())),
            _ => return Err(invalid("It names more than one host.".into())),
        };
        let dbname = config.get_dbname().map_or_else(settings::database, str::to_owned);
        if dbname != settings::database() {
            return Err(invalid(format!(
                "The cluster lives in database \"{}\" (shardman.database), not in \"{dbname}\".",
                settings::database()
            )));
        }
        Ok(Address {
            host,
            port: config.get_ports().first().copied().unwrap_or(5432),
            dbname,
            user: config.get_user().map(str::to_owned),
            password: config
                .get_password()
                .map(|password| String::from_utf8_lossy(password).into_owned()),
        })
    }

    /// What the metadata log keeps: no user, no secret.
    pub fn without_user(&self) -> String {
        let quoted =
            |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
        let plain = |value: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:/".contains(c);
            if !value.is_empty() && value.chars().all(is_plain) {
                value.to_owned()
            } else {
                quoted(value)
            }
        };
        format!("host={} port={} dbname={}", plain(&self.host), self.port, plain(&self.dbname))
    }
}
