//! The receiving end of a partial aggregate.
//!
//! The coordinator asks for `shardman.partial_state(avg(x))` where it wants not
//! the average but what PostgreSQL's own Partial Aggregate would hand to its
//! Finalize Aggregate. In a node session's top-level statement the wrapping is
//! taken off after analysis, the aggregate is marked as one that stops before
//! its final function, and the plan's Agg node is told so. So the state is
//! exactly that of a local partial aggregate, for every aggregate that has one.
//! It is safe to finalise: it comes from a node, by its credential, and all
//! nodes have one major version.
//!
//! Contract with `fdw::deparse::grouped`, the sending end: such calls stand at
//! the top of the target list of a query over one leaf; every aggregate of that
//! query is partial (of those without final function state and result are the
//! same); their declared transition types are not polymorphic.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use crate::lists::{elements, text};
use crate::report::Report;

use pg_sys::AggSplit::{AGGSPLIT_INITIAL_SERIAL, AGGSPLIT_SIMPLE};

/// Column of pg_aggregate, the same in 15 to 18.
const TRANSITION_TYPE: i16 = 17;

/// Puts marked aggregates in place of the calls of `partial_state`.
///
/// # Safety
/// `query` is valid, just analysed, and from another node.
pub unsafe fn unwrap_calls(query: *mut pg_sys::Query) -> Result<(), Report> {
    // SAFETY: the caller's; casts follow the tags.
    unsafe {
        if !(*query).hasAggs {
            return Ok(());
        }
        for entry in elements::<pg_sys::TargetEntry>((*query).targetList) {
            let Some(aggregate) = wrapped((*entry).expr.cast()) else { continue };
            let state_type = transition_type((*aggregate).aggfnoid)?;
            (*aggregate).aggsplit = AGGSPLIT_INITIAL_SERIAL;
            (*aggregate).aggtype = match state_type {
                pg_sys::INTERNALOID => pg_sys::BYTEAOID,
                other => other,
            };
            (*entry).expr = aggregate.cast();
        }
        Ok(())
    }
}

/// The aggregate in a call of `shardman.partial_state`.
unsafe fn wrapped(node: *mut pg_sys::Node) -> Option<*mut pg_sys::Aggref> {
    // SAFETY: a valid expression; casts follow the tags; guarded look-ups.
    unsafe {
        if (*node).type_ != pg_sys::NodeTag::T_FuncExpr {
            return None;
        }
        let call: *mut pg_sys::FuncExpr = node.cast();
        let argument = elements::<pg_sys::Node>((*call).args).next()?;
        if (*argument).type_ != pg_sys::NodeTag::T_Aggref
            || (*call).funcid.to_u32() < pg_sys::FirstNormalObjectId
            || text(pg_sys::get_func_name((*call).funcid)) != "partial_state"
        {
            return None;
        }
        let schema = pg_sys::get_namespace_name(pg_sys::get_func_namespace((*call).funcid));
        (text(schema) == "shardman").then(|| argument.cast())
    }
}

fn transition_type(aggregate: pg_sys::Oid) -> Result<pg_sys::Oid, Report> {
    // SAFETY: a syscache look-up; the column is never null and of type oid.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::AGGFNOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(aggregate));
        if tuple.is_null() {
            let missing = PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION;
            return Err(Report::new(missing, "an aggregate function does not exist"));
        }
        let mut is_null = false;
        let value = pg_sys::SysCacheGetAttr(cache, tuple, TRANSITION_TYPE, &raw mut is_null);
        pg_sys::ReleaseSysCache(tuple);
        Ok(pg_sys::Oid::from(value.value() as u32))
    }
}

/// Whether `query` went through [`unwrap_calls`] and had something to unwrap.
///
/// # Safety
/// `query` is valid.
pub unsafe fn is_wanted(query: *mut pg_sys::Query) -> bool {
    // SAFETY: the caller's.
    unsafe {
        (*query).hasAggs
            && elements::<pg_sys::TargetEntry>((*query).targetList).any(|entry| {
                let node: *mut pg_sys::Node = (*entry).expr.cast();
                (*node).type_ == pg_sys::NodeTag::T_Aggref
                    && (*node.cast::<pg_sys::Aggref>()).aggsplit != AGGSPLIT_SIMPLE
            })
    }
}

/// Tells the plan's one Agg node to return states.
///
/// # Safety
/// `planned` is a fresh plan of a query for which [`is_wanted`] holds.
pub unsafe fn stop_before_final_functions(planned: *mut pg_sys::PlannedStmt) -> Result<(), Report> {
    // SAFETY: the caller's; casts follow the tags. Above the Agg node of such a
    // query is at most a node that passes its rows on.
    unsafe {
        let mut plan = (*planned).planTree;
        while !plan.is_null() && (*plan).type_ != pg_sys::NodeTag::T_Agg {
            plan = (*plan).lefttree;
        }
        if plan.is_null() {
            return Err(no_aggregate());
        }
        (*plan.cast::<pg_sys::Agg>()).aggsplit = AGGSPLIT_INITIAL_SERIAL;
        for entry in elements::<pg_sys::TargetEntry>((*plan).targetlist) {
            let node: *mut pg_sys::Node = (*entry).expr.cast();
            if (*node).type_ == pg_sys::NodeTag::T_Aggref {
                (*node.cast::<pg_sys::Aggref>()).aggsplit = AGGSPLIT_INITIAL_SERIAL;
            }
        }
        Ok(())
    }
}

fn no_aggregate() -> Report {
    let wrong = PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED;
    Report::new(wrong, "cannot return the state of an aggregate that the plan does not compute")
}

#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_partial_state_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `shardman.partial_state("any")`: runs only where it was not taken off.
#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn partial_state_wrapper(
    _call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    let refusal = || -> Result<pg_sys::Datum, Report> {
        Err(Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot call partial_state() outside of a statement from another node",
        ))
    };
    // SAFETY: PostgreSQL calls it as a function; no destructor is live here.
    unsafe { fdw::callback(|| Ok(refusal()?)) }
}
