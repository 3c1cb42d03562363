//! A client of one node. Blocking, for tests that read from top to bottom;
//! every call is bounded, so that a hang is a failure with a name.

use std::future::poll_fn;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

const CONNECT_BOUND: Duration = Duration::from_secs(10);
const STATEMENT_BOUND: Duration = Duration::from_secs(60);

/// What statements give.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// All rows, as the server writes the values; NULL is `None`.
    pub rows: Vec<Vec<Option<String>>>,
    /// The number in each command tag; 0 for tags without one.
    pub counts: Vec<u64>,
}

/// A session; dropped, it is closed.
pub struct Session {
    runtime: Runtime,
    client: Client,
    notifications: UnboundedReceiver<(String, String)>,
}

impl Session {
    /// Connects with libpq keywords.
    pub fn open(connstr: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (heard, notifications) = unbounded_channel();
        let client = runtime.block_on(async {
            let attempt = tokio_postgres::connect(connstr, NoTls);
            let (client, mut connection) = tokio::time::timeout(CONNECT_BOUND, attempt)
                .await
                .with_context(|| format!("no connection in time to {connstr}"))?
                .with_context(|| format!("could not connect to {connstr}"))?;
            tokio::spawn(async move {
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(it) = message {
                        heard.send((it.channel().to_owned(), it.payload().to_owned())).ok();
                    }
                }
            });
            anyhow::Ok(client)
        })?;
        Ok(Self { runtime, client, notifications })
    }

    /// Runs statements; the server's error can be had with [`db_error`].
    pub fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.messages(sql).map(drop)
    }

    /// The next notification that this session hears within `bound`: its channel
    /// and payload.
    pub fn notification(&mut self, bound: Duration) -> anyhow::Result<(String, String)> {
        let next = async { tokio::time::timeout(bound, self.notifications.recv()).await };
        let next = self.runtime.block_on(next).context("no notification in time")?;
        next.context("the connection is closed")
    }

    /// The rows of a statement, as the server writes the values; NULL is `None`.
    pub fn rows(&self, sql: &str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        let messages = self.messages(sql)?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows
            .map(|row| (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
            .collect())
    }

    /// Rows and counts of one or more statements.
    pub fn answer(&self, sql: &str) -> anyhow::Result<Answer> {
        let mut answer = Answer::default();
        for message in self.messages(sql)? {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let values = (0..row.len()).map(|i| row.get(i).map(str::to_owned));
                    answer.rows.push(values.collect());
                }
                SimpleQueryMessage::CommandComplete(count) => answer.counts.push(count),
                _ => {}
            }
        }
        Ok(answer)
    }

    /// The one value of a statement; an error if there is none or it is NULL.
    pub fn value(&self, sql: &str) -> anyhow::Result<String> {
        let rows = self.rows(sql)?;
        match rows.as_slice() {
            [row] if row.len() == 1 => {
                row[0].clone().with_context(|| format!("NULL is the result of: {sql}"))
            }
            _ => bail!("{} rows, not one value, from: {sql}", rows.len()),
        }
    }

    /// Like [`value`](Self::value), as an integer.
    pub fn integer(&self, sql: &str) -> anyhow::Result<i64> {
        let value = self.value(sql)?;
        value.parse().with_context(|| format!("\"{value}\" is no integer, from: {sql}"))
    }

    /// The error that `sql` ends in; an error itself if it succeeds or the
    /// connection is lost.
    pub fn failure(&self, sql: &str) -> anyhow::Result<DbError> {
        match self.messages(sql) {
            Ok(_) => bail!("this should have failed: {sql}"),
            Err(error) => match db_error(&error) {
                Some(db) => Ok(db.clone()),
                None => Err(error),
            },
        }
    }

    fn messages(&self, sql: &str) -> anyhow::Result<Vec<SimpleQueryMessage>> {
        self.runtime.block_on(async {
            let query = self.client.simple_query(sql);
            match tokio::time::timeout(STATEMENT_BOUND, query).await {
                Ok(Ok(messages)) => Ok(messages),
                Ok(Err(error)) => {
                    let text = match error.as_db_error() {
                        Some(db) => format!("{} ({}): {sql}", db.message(), db.code().code()),
                        None => format!("the connection failed: {sql}"),
                    };
                    Err(anyhow::Error::from(error).context(text))
                }
                Err(_) => bail!("no answer within {} s to: {sql}", STATEMENT_BOUND.as_secs()),
            }
        })
    }
}

/// Whether a failure of [`Session`] says for certain that what was asked, with
/// its commit, has not happened: any error but a lost connection, and one that
/// says that the outcome is unknown.
pub fn is_refusal(error: &anyhow::Error) -> bool {
    db_error(error).is_some_and(|db| db.severity() == "ERROR" && db.code().code() != "08007")
}

/// The server's report behind a failure of [`Session`], if there is one.
pub fn db_error(error: &anyhow::Error) -> Option<&DbError> {
    error.downcast_ref::<tokio_postgres::Error>()?.as_db_error()
}
