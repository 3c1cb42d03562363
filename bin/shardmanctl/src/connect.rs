//! Connections to nodes: bounded in time, failing as [`CannotConnect`].

use std::time::Duration;

use anyhow::Context;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};

use crate::exit::{BadUsage, CannotConnect};

/// The runtime on which one command's connections live.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the I/O runtime")
}

/// Reads a connection string: libpq keywords or a `postgresql://` URL.
pub fn parse(connstr: &str) -> anyhow::Result<Config> {
    let mut config: Config = connstr.parse().map_err(|error| {
        BadUsage(format!("could not read the connection string \"{connstr}\": {error}"))
    })?;
    if config.get_user().is_none() {
        config.user("postgres");
    }
    if config.get_dbname().is_none() {
        config.dbname("postgres");
    }
    if config.get_hosts().is_empty() {
        config.host("127.0.0.1");
    }
    config.application_name("shardmanctl");
    Ok(config)
}

/// Where `config` points to, without user and password.
pub fn address(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "127.0.0.1".to_owned(),
    };
    format!("{host}:{}", config.get_ports().first().copied().unwrap_or(5432))
}

/// A session, or [`CannotConnect`] after at most `timeout`.
pub async fn open(config: &Config, timeout: Duration) -> anyhow::Result<Client> {
    let attempt = tokio::time::timeout(timeout, config.connect(NoTls)).await;
    let (client, connection) = match attempt {
        Ok(Ok(pair)) => pair,
        Ok(Err(error)) => {
            let reason = describe(&error);
            return Err(CannotConnect(format!(
                "could not connect to {}: {reason}",
                address(config)
            ))
            .into());
        }
        Err(_) => {
            return Err(CannotConnect(format!(
                "could not connect to {}: no answer within {} s",
                address(config),
                timeout.as_secs()
            ))
            .into());
        }
    };
    // An error of the connection reaches the client's pending query as well.
    tokio::spawn(async move { connection.await.ok() });
    Ok(client)
}

/// The server's message with detail and hint, or the driver's with its cause.
pub fn describe(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        return match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
    };
    let mut text = format!("{} ({})", db.message(), db.code().code());
    for (label, part) in [("DETAIL", db.detail()), ("HINT", db.hint()), ("CONTEXT", db.where_())] {
        if let Some(part) = part {
            text.push_str(&format!("\n{label}: {part}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_get_the_defaults_of_a_development_cluster() {
        let config = parse("port=15501").unwrap();
        assert_eq!(config.get_user(), Some("postgres"));
        assert_eq!(config.get_dbname(), Some("postgres"));
        assert_eq!(address(&config), "127.0.0.1:15501");
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        let error = parse("port=many").unwrap_err();
        assert_eq!(crate::exit::code_of(&error), 2);
    }
}
