//! Sessions of recovery with all members, kept from pass to pass.

use std::collections::HashMap;
use std::time::Duration;

use cluster::NodeId;
use cluster::txn::{Answer, Gid};
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

use crate::catalog::Member;
use crate::membership::Dialog;
use crate::report::Report;

/// A participant younger than this is left to the backend that prepared it.
const GRACE_SECONDS: f64 = 2.0;
/// For logging in to a node and for each of its answers: one that is silent must
/// not keep the others waiting.
const BOUND: Duration = Duration::from_secs(3);

/// A part as its node listed it.
pub struct Prepared {
    pub node: NodeId,
    pub gid: Gid,
    /// No live backend can be expected to finish it at once.
    pub is_old: bool,
}

/// The sessions, by node.
#[derive(Default)]
pub struct Sessions(HashMap<NodeId, Dialog>);

impl Sessions {
    /// Parts of distributed transactions that are prepared on a member.
    pub fn list(&mut self, member: &Member) -> Result<Vec<Prepared>, Report> {
        let rows = self.rows(
            member,
            &format!(
                "SELECT gid, prepared OPERATOR(pg_catalog.<=)
                     (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => {GRACE_SECONDS}))
                 FROM pg_catalog.pg_prepared_xacts
                 WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()
                   AND gid OPERATOR(pg_catalog.~) '^s[cd]_'"
            ),
        )?;
        let read = |row: Vec<Option<String>>| {
            let gid = Gid::parse(row.first()?.as_deref()?)?;
            let is_old = row.get(1)?.as_deref() == Some("t");
            Some(Prepared { node: member.id, gid, is_old })
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// COMMIT PREPARED or ROLLBACK PREPARED. Fine if it is finished already.
    pub fn finish(&mut self, member: &Member, gid: &Gid, verb: &str) -> Result<(), Report> {
        let gid = quote_literal(gid.to_string());
        match self.rows(member, &format!("{verb} PREPARED {gid}")) {
            // A backend was faster.
            Err(report) if report.code == PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT => Ok(()),
            other => other.map(drop),
        }
    }

    /// What a member knows of a transaction.
    pub fn ask(&mut self, member: &Member, gid: &Gid) -> Result<Answer, Report> {
        let gid = quote_literal(gid.to_string());
        let rows = self.rows(member, &format!("SELECT shardman.transaction_outcome({gid})"))?;
        let word = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        Ok(Answer::parse(&word.unwrap_or_default()))
    }

    fn rows(&mut self, member: &Member, sql: &str) -> Result<Vec<Vec<Option<String>>>, Report> {
        let session = match self.0.entry(member.id) {
            std::collections::hash_map::Entry::Occupied(kept) => kept.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Dialog::open_bounded_member_session(member, BOUND)?)
            }
        };
        let answer = session.rows(sql);
        // Whatever it was, the next request finds a session in good order.
        if answer.is_err() {
            self.0.remove(&member.id);
        }
        answer
    }
}

/// Whether a node is not there, rather than something being wrong with it.
pub fn is_absence(report: &Report) -> bool {
    matches!(
        report.code,
        PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION
            | PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE
            | PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW
            | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN
    )
}
