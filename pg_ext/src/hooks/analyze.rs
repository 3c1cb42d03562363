//! post_parse_analyze_hook: who may name a leaf.
//!
//! A user's statement never writes to a leaf directly. A node session's
//! top-level statement does little else, and the coordinator has already
//! checked the user's rights on the parent: no rights on leaves are granted to
//! anyone, so the check on the leaf is left out there.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::partial_state;
use crate::ddl::{OwnWork, is_leaf_schema};
use crate::node_session::{is_known_user_session, is_node_session};
use crate::report::Report;

static mut PREVIOUS: pg_sys::post_parse_analyze_hook_type = None;

pub fn install() {
    // SAFETY: as for every hook, set before any backend exists.
    unsafe {
        PREVIOUS = pg_sys::post_parse_analyze_hook;
        pg_sys::post_parse_analyze_hook = Some(post_parse_analyze);
    }
}

unsafe extern "C-unwind" fn post_parse_analyze(
    pstate: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: *mut pg_sys::JumbleState,
) {
    // SAFETY: plain-old frame; the arguments are PostgreSQL's own.
    unsafe {
        if let Some(previous) = PREVIOUS {
            previous(pstate, query, jumble);
        }
        look_at_leaves(pstate, query);
    }
}

/// A plain-old frame.
unsafe fn look_at_leaves(pstate: *mut pg_sys::ParseState, query: *mut pg_sys::Query) {
    // SAFETY: analysis hands over a valid query and its parse state.
    unsafe {
        let is_utility = (*query).commandType == pg_sys::CmdType::CMD_UTILITY;
        let writes = (*query).resultRelation > 0 || !(*query).cteList.is_null();
        // Most statements of most sessions end here.
        if is_utility || (!writes && is_known_user_session()) {
            return;
        }
        fdw::callback(|| {
            if !crate::in_cluster_database() {
                return Ok(());
            }
            if is_node_session() && (*pstate).p_sourcetext == pg_sys::debug_query_string {
                trust_the_coordinator(query);
                Ok(partial_state::unwrap_calls(query)?)
            } else if OwnWork::is_going_on() {
                Ok(())
            } else {
                Ok(refuse_writes(query)?)
            }
        })
    }
}

/// SAFETY: `query` is valid.
unsafe fn trust_the_coordinator(query: *mut pg_sys::Query) {
    // SAFETY: the caller's; the range table holds RangeTblEntry nodes.
    unsafe {
        for entry in crate::lists::elements::<pg_sys::RangeTblEntry>((*query).rtable) {
            match (*entry).rtekind {
                pg_sys::RTEKind::RTE_RELATION if is_leaf_schema((*entry).relid) => {
                    (*entry).requiredPerms = 0;
                }
                pg_sys::RTEKind::RTE_SUBQUERY => trust_the_coordinator((*entry).subquery),
                _ => {}
            }
        }
        for cte in crate::lists::elements::<pg_sys::CommonTableExpr>((*query).cteList) {
            trust_the_coordinator((*cte).ctequery.cast());
        }
    }
}

/// SAFETY: `query` is valid.
unsafe fn refuse_writes(query: *mut pg_sys::Query) -> Result<(), Report> {
    // SAFETY: the caller's; resultRelation is an index into the range table.
    // Only the top level and its CTEs can write.
    unsafe {
        let target = (*query).resultRelation;
        if target > 0 {
            let entry: *mut pg_sys::RangeTblEntry =
                pg_sys::list_nth((*query).rtable, target - 1).cast();
            if is_leaf_schema((*entry).relid)
                && !is_referential_action()
                && !crate::settings::restoring()
            {
                return Err(crate::ddl::leaf_by_hand((*entry).relid));
            }
        }
        crate::lists::elements::<pg_sys::CommonTableExpr>((*query).cteList)
            .try_for_each(|cte| refuse_writes((*cte).ctequery.cast()))
    }
}

/// Queries of foreign-key triggers name leaves, and rightly so.
fn is_referential_action() -> bool {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads two backend variables.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut user, &mut context) };
    context & pg_sys::SECURITY_NOFORCE_RLS as i32 != 0
}
