//! Peers through ordinary PostgreSQL connections: one port, one authentication.

use std::io;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::{BoxFuture, PeerAddress, PeerConnection, PeerConnector};

/// The role that nodes log in as.
const NODE_ROLE: &str = "shardman_node";
const CALL: &str = "SELECT shardman.raft_rpc($1)";
/// For the TCP connection alone; logging in counts against
/// [`crate::Timing::connect`].
const TCP_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Logs in to peers as the node role, without TLS for now, and calls
/// `shardman.raft_rpc(bytea) RETURNS bytea`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresConnector;

impl PeerConnector for PostgresConnector {
    fn connect(
        &self,
        address: PeerAddress,
    ) -> BoxFuture<'static, io::Result<Box<dyn PeerConnection>>> {
        Box::pin(async move {
            let connection = PostgresConnection::open(address).await?;
            Ok(Box::new(connection) as Box<dyn PeerConnection>)
        })
    }
}

struct PostgresConnection {
    client: Client,
    statement: Statement,
    /// Moves the bytes; it would outlive the client for as long as an answer
    /// is missing.
    driver: JoinHandle<()>,
}

impl PostgresConnection {
    async fn open(address: PeerAddress) -> io::Result<Self> {
        let mut config: Config = address.connstr.parse().map_err(readable)?;
        config
            .user(NODE_ROLE)
            .password(address.credential.0.as_bytes())
            .application_name(format!("shardman raft of node {}", address.origin))
            .connect_timeout(TCP_CONNECT_TIMEOUT);
        let (client, connection) = config.connect(NoTls).await.map_err(readable)?;
        let driver = tokio::spawn(async move {
            // How it ended is what the client's calls answer.
            connection.await.ok();
        });
        match client.prepare(CALL).await {
            Ok(statement) => Ok(PostgresConnection { client, statement, driver }),
            Err(e) => {
                driver.abort();
                Err(readable(e))
            }
        }
    }
}

impl PeerConnection for PostgresConnection {
    fn call(&mut self, frame: Vec<u8>) -> BoxFuture<'_, io::Result<Vec<u8>>> {
        Box::pin(async move {
            let row = self.client.query_one(&self.statement, &[&frame]).await.map_err(readable)?;
            row.try_get(0).map_err(readable)
        })
    }

    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl Drop for PostgresConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// tokio-postgres shows a server's error as "db error" and keeps the message,
/// like the reason of a failed connect, behind it.
fn readable(error: tokio_postgres::Error) -> io::Error {
    let message = match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    };
    io::Error::other(message)
}
