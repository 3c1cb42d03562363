//! The option use_remote_estimate: rows and cost of a scan as the planner over
//! there has them.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;

use crate::analyze::ask;
use crate::backend::{attributes, cells};
use crate::deparse::{Parameters, Select, select_statement};
use crate::error::{Error, Refusal, SqlState};
use crate::placement::Placement;

/// What EXPLAIN says of the whole statement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RemoteEstimate {
    /// Rows that it returns.
    pub rows: f64,
    /// The cost of all of them.
    pub total: f64,
}

/// Asks the server of the foreign table `relid` what reading it under the
/// conditions `remote` costs. `None` if they have parameters, whose values are
/// not known yet.
///
/// # Safety
/// `rel` is the planner's, `remote` a list of its RestrictInfos.
pub unsafe fn remote_estimate(
    rel: *const pg_sys::RelOptInfo,
    rte: *const pg_sys::RangeTblEntry,
    placement: Placement,
    remote: *mut pg_sys::List,
) -> Result<Option<RemoteEstimate>, Error> {
    // SAFETY: per the contract; guarded; the planner holds a lock on the relation.
    unsafe {
        let relid = (*rte).relid;
        let relation = pg_sys::table_open(relid, pg_sys::NoLock as i32);
        let attributes = attributes((*relation).rd_att);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        let conditions = cells::<pg_sys::RestrictInfo>(remote)
            .filter(|info| !(**info).pseudoconstant)
            .fold(null_mut(), |list, info| pg_sys::lappend(list, (*info).clause.cast()));
        let select = Select {
            placement,
            relid,
            index: (*rel).relid,
            attributes: &attributes,
            columns: &[],
            conditions,
            order: &[],
            lock: None,
            rte,
        };
        let mut parameters = Parameters::new();
        let sql = select_statement(&select, &mut parameters);
        if !parameters.into_list().is_null() {
            return Ok(None);
        }
        let explain = [b"EXPLAIN ", sql.as_slice()].concat();
        let rows = ask(relid, String::from_utf8_lossy(&explain).into_owned())?;
        let first = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
        first.and_then(read).map(Some).ok_or_else(|| {
            Refusal::new(SqlState::PROTOCOL_VIOLATION, "could not read the plan of another server")
                .with_detail(first.unwrap_or_default().to_owned())
                .into()
        })
    }
}

/// `Seq Scan on t  (cost=0.00..35.50 rows=2550 width=4)`
fn read(line: &str) -> Option<RemoteEstimate> {
    let (_, estimate) = line.rsplit_once("(cost=")?;
    let (cost, estimate) = estimate.split_once(" rows=")?;
    let (_, total) = cost.split_once("..")?;
    let (rows, _) = estimate.split_once(' ')?;
    Some(RemoteEstimate { rows: rows.parse().ok()?, total: total.parse().ok()? })
}
