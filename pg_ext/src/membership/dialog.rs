//! Talking to another server outside of any transaction.

use std::time::{Duration, Instant};

use cluster::metadata::NodeRecord;
use cluster::sharding::NodeCommand;
use fdw::session::{Dialog as Connection, Login};
use pgrx::spi::quote_literal;

use super::{Address, my_identity};
use crate::catalog::Member;
use crate::node_session::{APPLY, EFFECTIVE_USER, NODE_ROLE};
use crate::report::Report;

/// A connection of its own.
pub struct Dialog {
    connection: Connection,
}

impl Dialog {
    /// Logs in as the address says; by default as the user who asks.
    pub fn open(address: &Address) -> Result<Self, Report> {
        let user = address.user.clone().unwrap_or_else(super::join::current_user);
        Self::login(address, address.without_user(), user, address.password.clone(), None)
    }

    /// Logs in to a member as the node role.
    pub fn open_member_session(member: &Member) -> Result<Self, Report> {
        Self::as_node_role(&member.connstr, &member.name, None)
    }

    /// The same, making sure that it is that member. `bound` is for logging in
    /// and for each query.
    pub fn open_bounded_member_session(member: &Member, bound: Duration) -> Result<Self, Report> {
        Self::checked(member, Some(bound))
    }

    /// The same for what may take as long as it takes.
    pub fn open_lasting_member_session(member: &Member) -> Result<Self, Report> {
        Self::checked(member, None)
    }

    fn checked(member: &Member, bound: Option<Duration>) -> Result<Self, Report> {
        let mut session = Self::as_node_role(&member.connstr, &member.name, bound)?;
        let identity = my_identity()?;
        session.rows(&format!(
            "SELECT shardman.check_member('{}', {}, {})",
            identity.cluster_id, member.id, member.system_identifier.0 as i64
        ))?;
        Ok(session)
    }

    /// Logs in, as the node role, to a server that is no member any more.
    pub fn open_bounded_session(
        connstr: &str,
        name: &str,
        bound: Duration,
    ) -> Result<Self, Report> {
        Self::as_node_role(connstr, name, Some(bound))
    }

    /// Logs in to a server that has adopted its identity, as the node role.
    pub fn open_node_session(node: &NodeRecord) -> Result<Self, Report> {
        Self::as_node_role(&node.connstr, &node.name, None)
    }

    fn as_node_role(connstr: &str, name: &str, bound: Option<Duration>) -> Result<Self, Report> {
        let credential = my_identity()?.credential.0.clone();
        let user = NODE_ROLE.to_string_lossy().into_owned();
        Self::login(&Address::parse(connstr)?, name.to_owned(), user, Some(credential), bound)
    }

    fn login(
        address: &Address,
        name: String,
        user: String,
        password: Option<String>,
        bound: Option<Duration>,
    ) -> Result<Self, Report> {
        let Address { host, port, dbname, .. } = address.clone();
        let login = Login { name, host, port, dbname, user, password };
        Ok(Dialog { connection: Connection::open(login, bound)? })
    }

    /// The rows of a query as text.
    pub fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Report> {
        Ok(self.connection.query(sql)?)
    }

    /// Sends a query without waiting for its answer.
    pub fn send(&self, sql: &str) -> Result<u64, Report> {
        Ok(self.connection.send(sql)?)
    }

    /// The rows of a query that was sent. Deaf to cancel; past the deadline the
    /// connection is of no more use.
    pub fn receive(
        &self,
        ticket: u64,
        sql: &str,
        deadline: Instant,
    ) -> Result<Vec<Vec<Option<String>>>, Report> {
        Ok(self.connection.receive(ticket, sql, deadline)?)
    }

    /// The same however long it takes. Answers to cancel.
    pub fn collect(&self, ticket: u64, sql: &str) -> Result<Vec<Vec<Option<String>>>, Report> {
        Ok(self.connection.collect(ticket, sql)?)
    }

    /// The first column of a query's rows; NULL is left out.
    pub fn column(&mut self, sql: &str) -> Result<Vec<String>, Report> {
        let rows = self.rows(sql)?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// The first value of a query; empty for NULL and void.
    pub fn value(&mut self, sql: &str) -> Result<String, Report> {
        Ok(self.column(sql)?.into_iter().next().unwrap_or_default())
    }

    /// Has the other end carry out a command as a user, in a transaction of its
    /// own. Only in a session of the node role.
    pub fn apply(&mut self, user: &str, command: &NodeCommand) -> Result<(), Report> {
        let command = serde_json::to_string(command).unwrap_or_default();
        self.connection.query(&format!(
            "BEGIN; SET {EFFECTIVE_USER} TO {}; SET {APPLY} TO {}; COMMIT",
            quote_literal(user),
            quote_literal(&command),
        ))?;
        Ok(())
    }
}
