//! What can be asked and told in SQL.

use cluster::metadata::{DdlPosition, TokenId};
use pgrx::prelude::*;
use raft::{Request, Response};

use super::applied;
use super::token::unexpected;
use crate::report::{OrRaise, Report};
use crate::worker;

/// For this node's queue: whether the running transaction is to do what was
/// decided under a token.
#[pg_extern(sql = false)]
fn claim_schema_change(token: i64, log_position: i64) -> bool {
    applied::claim(TokenId(token as u64), DdlPosition(log_position as u64)).or_raise()
}

/// How managed DDL stands, as far as this node has applied the log.
#[pg_extern(sql = false)]
fn schema_log() -> pgrx::JsonB {
    look().or_raise()
}

fn look() -> Result<pgrx::JsonB, Report> {
    let watch = Request::WatchDdl { after: cluster::LogIndex(0), limit_ms: 0 };
    let view = match worker::ask(&watch)? {
        Response::Ddl(view) => view,
        other => return Err(unexpected(format!("{other:?}"))),
    };
    let members = view.members.iter().map(|(node, state, applied)| {
        serde_json::json!({ "node_id": node, "state": state.as_str(), "applied": applied })
    });
    Ok(pgrx::JsonB(serde_json::json!({
        "token": view.token.map(|token| token.id),
        "holder": view.token.map(|token| token.holder.node),
        "pending_of": view.pending.map(|(_, node)| node),
        "last": view.tail.position,
        "kept": view.kept,
        "members": members.collect::<Vec<_>>(),
    })))
}
