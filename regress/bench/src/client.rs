//! A blocking session with one server. Unlike the sessions of the regression
//! harness it waits as long as loading takes, and it speaks the extended
//! protocol.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, SimpleQueryMessage, Statement};

/// Nothing that is measured or loaded may take longer.
const BOUND: Duration = Duration::from_secs(900);

/// One session; dropped, it is closed.
pub struct Client {
    runtime: Runtime,
    inner: tokio_postgres::Client,
}

impl Client {
    /// Connects to a server on this machine.
    pub fn connect(port: u16) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connstr =
            format!("host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=10");
        let inner = runtime.block_on(async {
            let (inner, connection) = tokio_postgres::connect(&connstr, NoTls)
                .await
                .with_context(|| format!("could not connect to port {port}"))?;
            tokio::spawn(async move { connection.await.ok() });
            anyhow::Ok(inner)
        })?;
        Ok(Self { runtime, inner })
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.rows(sql).map(drop)
    }

    /// The rows of a statement as text, columns separated by `|`.
    pub fn rows(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        let messages = self.bounded(sql, self.inner.simple_query(sql))?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows
            .map(|row| {
                let columns = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned());
                columns.collect::<Vec<_>>().join("|")
            })
            .collect())
    }

    /// The rows of a statement, and how long it took.
    pub fn timed(&self, sql: &str) -> anyhow::Result<(Vec<String>, Duration)> {
        let start = Instant::now();
        let rows = self.rows(sql)?;
        Ok((rows, start.elapsed()))
    }

    /// The only row of a statement.
    pub fn row(&self, sql: &str) -> anyhow::Result<String> {
        match self.rows(sql)?.as_slice() {
            [row] => Ok(row.clone()),
            rows => bail!("{} rows, not one, from: {sql}", rows.len()),
        }
    }

    /// The only value of a statement, an integer.
    pub fn integer(&self, sql: &str) -> anyhow::Result<i64> {
        let row = self.row(sql)?;
        row.parse().with_context(|| format!("\"{row}\" is no integer, from: {sql}"))
    }

    /// Prepares a statement by the extended protocol.
    pub fn prepare(&self, sql: &str) -> anyhow::Result<Statement> {
        self.bounded(sql, self.inner.prepare(sql))
    }

    /// Runs a prepared statement with bigint parameters; its rows are read and
    /// forgotten.
    pub fn execute(&self, statement: &Statement, parameters: &[i64]) -> anyhow::Result<()> {
        let parameters: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        self.bounded("EXECUTE", self.inner.query(statement, &parameters)).map(drop)
    }

    fn bounded<T>(
        &self,
        sql: &str,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> anyhow::Result<T> {
        let outcome = self.runtime.block_on(async { tokio::time::timeout(BOUND, work).await });
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => match error.as_db_error() {
                Some(db) => bail!("{} ({}), from: {}", db.message(), db.code().code(), start(sql)),
                None => bail!("{error}, from: {}", start(sql)),
            },
            Err(_) => bail!("no answer within {} s to: {}", BOUND.as_secs(), start(sql)),
        }
    }
}

fn start(sql: &str) -> String {
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}
