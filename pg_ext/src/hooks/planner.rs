//! planner_hook: the router's plans, partitionwise plans for sharded tables, and
//! transition states for other nodes.
//!
//! `enable_partitionwise_aggregate` and `enable_partitionwise_join` are off by
//! default because they cost planning time and save little where all partitions
//! are local. Here they decide whether rows or results travel, so they are on
//! while a statement is planned that touches a sharded table.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};

use fdw::router::{self, Planned};
use pgrx::PgMemoryContexts;
use pgrx::prelude::*;

use super::{explain, merge, partial_state, partitionwise};
use crate::catalog::registry;
use crate::ddl;
use crate::lists::elements;
use crate::node_session::is_node_session;
use crate::report::Report;
use crate::{lasting_user, sequence, settings};

static mut PREVIOUS: pg_sys::planner_hook_type = None;

mod raw {
    use std::ffi::{c_char, c_int};

    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        /// Not the guarded binding of pgrx: see the rule in `hooks`.
        pub fn standard_planner(
            query: *mut pg_sys::Query,
            query_string: *const c_char,
            cursor_options: c_int,
            parameters: pg_sys::ParamListInfo,
        ) -> *mut pg_sys::PlannedStmt;
    }
}

/// What the guarded part decided, as plain data.
#[derive(Clone, Copy)]
struct Planning {
    /// Partitionwise plans are switched on, to be switched back afterwards.
    is_partitionwise: bool,
    /// The aggregates' states are wanted, not their results.
    returns_states: bool,
    /// It is a MERGE into a sharded table.
    merges: bool,
    /// Why the router left that one alone: a C string, or null.
    reason: *const c_char,
    /// The plan, if the router made it; null otherwise.
    routed: *mut pg_sys::PlannedStmt,
}

pub fn install() {
    // SAFETY: as for every hook, set before any backend exists.
    unsafe {
        PREVIOUS = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
    }
}

unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    query_string: *const c_char,
    cursor_options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: plain-old frame; the arguments are PostgreSQL's own.
    unsafe {
        if lasting_user::is_to_be_resumed() {
            fdw::callback(|| Ok(lasting_user::resume()?));
        }
        let query = fdw::callback(|| draw_identities(query));
        let planning = fdw::callback(|| before(query, cursor_options, parameters));
        if !planning.routed.is_null() {
            return planning.routed;
        }
        // A parallel plan would have two levels of aggregates.
        let options = match planning.returns_states {
            true => cursor_options & !(pg_sys::CURSOR_OPT_PARALLEL_OK as c_int),
            false => cursor_options,
        };
        let next = match PREVIOUS {
            Some(previous) => previous,
            None => raw::standard_planner,
        };
        let mut context = merge::context(planning.reason);
        if planning.merges {
            pg_sys::error_context_stack = &raw mut context;
        }
        let planned = next(query, query_string, options, parameters);
        if planning.merges {
            pg_sys::error_context_stack = context.previous;
        }
        if planning.is_partitionwise {
            partitionwise::switch_back();
        }
        if planning.returns_states {
            fdw::callback(|| Ok(partial_state::stop_before_final_functions(planned)?));
        }
        planned
    }
}

/// SAFETY: `query` is valid.
unsafe fn draw_identities(query: *mut pg_sys::Query) -> Result<*mut pg_sys::Query, fdw::Error> {
    if !crate::in_cluster_database() {
        return Ok(query);
    }
    // SAFETY: the caller's.
    Ok(unsafe { sequence::replace_identity_values(query) }?)
}

/// SAFETY: `query` is valid.
unsafe fn before(
    query: *mut pg_sys::Query,
    cursor_options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> Result<Planning, fdw::Error> {
    let mut planning = Planning {
        is_partitionwise: false,
        returns_states: false,
        merges: false,
        reason: std::ptr::null(),
        routed: std::ptr::null_mut(),
    };
    if !crate::in_cluster_database() {
        return Ok(planning);
    }
    // SAFETY: the caller's.
    unsafe {
        if is_node_session() {
            planning.returns_states = partial_state::is_wanted(query);
            return Ok(planning);
        }
        ddl::refuse_moves(query)?;
        planning.merges = merge::is_into_sharded(query)?;
        if settings::enable_router() {
            match router::plan(query, cursor_options, parameters)? {
                Planned::Statement(routed) => {
                    planning.routed = routed;
                    return Ok(planning);
                }
                Planned::Refused(refusal, is_point) => {
                    let reason = refusal.message;
                    if planning.merges {
                        planning.reason = PgMemoryContexts::CurrentMemoryContext.pstrdup(&reason);
                    }
                    if is_point {
                        explain::note_refusal(query, &reason);
                    }
                    pgrx::debug1!("not routed: {reason}");
                }
                Planned::NotOurs => {}
            }
        }
        if reads_sharded(query)? {
            planning.is_partitionwise = true;
            partitionwise::switch_on();
        }
    }
    Ok(planning)
}

/// Whether a sharded table is read anywhere in the query. Views and subqueries
/// are already in its range tables. The registry is asked only about partitioned
/// tables: it reads plain ones itself when it is loaded, and planning that must
/// not lead back to it.
unsafe fn reads_sharded(query: *mut pg_sys::Query) -> Result<bool, Report> {
    let mut partitioned: Vec<pg_sys::Oid> = Vec::new();
    // SAFETY: a valid query; the walker gets the vector back as its context.
    unsafe {
        if (*query).commandType == pg_sys::CmdType::CMD_UTILITY {
            return Ok(false);
        }
        if is_flat(query) {
            partitioned.extend(partitioned_tables(query));
        } else {
            visit(query.cast(), (&raw mut partitioned).cast());
        }
    }
    if partitioned.is_empty() {
        return Ok(false);
    }
    let registry = registry()?;
    Ok(partitioned.iter().any(|rel| registry.table_of(*rel).is_some()))
}

/// Whether there is no other query in this one.
unsafe fn is_flat(query: *mut pg_sys::Query) -> bool {
    // SAFETY: a valid query.
    unsafe {
        !(*query).hasSubLinks
            && (*query).cteList.is_null()
            && elements::<pg_sys::RangeTblEntry>((*query).rtable)
                .all(|entry| (*entry).rtekind != pg_sys::RTEKind::RTE_SUBQUERY)
    }
}

/// Those in the query's own range table.
unsafe fn partitioned_tables(query: *mut pg_sys::Query) -> impl Iterator<Item = pg_sys::Oid> {
    // SAFETY: a valid query.
    unsafe {
        elements::<pg_sys::RangeTblEntry>((*query).rtable)
            .filter(|entry| {
                (**entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                    && (**entry).relkind == pg_sys::RELKIND_PARTITIONED_TABLE as c_char
            })
            .map(|entry| (*entry).relid)
    }
}

/// Collects the partitioned tables.
#[pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: casts follow the tag; `context` is the vector of `reads_sharded`.
    unsafe {
        if (*node).type_ != pg_sys::NodeTag::T_Query {
            return pg_sys::expression_tree_walker(node, Some(visit), context);
        }
        let query: *mut pg_sys::Query = node.cast();
        let partitioned = &mut *context.cast::<Vec<pg_sys::Oid>>();
        partitioned.extend(partitioned_tables(query));
        pg_sys::query_tree_walker(query, Some(visit), context, 0)
    }
}
