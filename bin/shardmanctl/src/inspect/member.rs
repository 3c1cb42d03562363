//! The node that was asked: a session with a member of a cluster.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};

use crate::connect;
use crate::exit::Refused;

/// Catalog views answer from local data; longer than this is a failure.
const QUERY_BOUND: Duration = Duration::from_secs(30);

/// A session with a node that belongs to a cluster.
pub struct Member {
    client: Client,
    /// How the session was made: other nodes are asked as the same user.
    pub config: Config,
    pub connect_timeout: Duration,
    pub id: i32,
}

impl Member {
    /// Connects; refuses a server that is no member of a cluster.
    pub async fn open(config: Config, connect_timeout: Duration) -> anyhow::Result<Self> {
        let client = connect::open(&config, connect_timeout).await?;
        let address = connect::address(&config);
        let mut member = Self { client, config, connect_timeout, id: 0 };
        let statement = "SELECT to_regnamespace('shardman') IS NOT NULL";
        if !member.one(statement).await?.try_get::<_, bool>(0)? {
            bail!(Refused(format!(
                "the database at {address} does not have the extension shardman"
            )));
        }
        let id = member.one("SELECT shardman.my_id()").await;
        match id.map(|row| row.try_get::<_, Option<i32>>(0)) {
            Ok(Ok(Some(id))) => member.id = id,
            Ok(_) => bail!(Refused(format!("the node at {address} is not a member of a cluster"))),
            Err(error) => {
                return Err(error.context(Refused(format!(
                    "the node at {address} is not a member of a cluster"
                ))));
            }
        }
        Ok(member)
    }

    /// All rows of `statement`, within a bound.
    pub async fn rows(&self, statement: &str) -> anyhow::Result<Vec<Row>> {
        let none: &[&(dyn ToSql + Sync)] = &[];
        match tokio::time::timeout(QUERY_BOUND, self.client.query(statement, none)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => bail!("{}\nSTATEMENT: {statement}", connect::describe(&error)),
            Err(_) => bail!("no answer within {} s to: {statement}", QUERY_BOUND.as_secs()),
        }
    }

    /// The only row of `statement`.
    pub async fn one(&self, statement: &str) -> anyhow::Result<Row> {
        let rows = self.rows(statement).await?;
        rows.into_iter().next().with_context(|| format!("no row from: {statement}"))
    }
}
