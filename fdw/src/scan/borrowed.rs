//! Statistics for leaves on other nodes, from a leaf that is here.
//!
//! A foreign leaf has none of its own until somebody analyses it. The partitions of
//! a sharded table are alike, and autovacuum keeps those that are here analysed.
#![allow(unsafe_code)]

use std::ffi::c_char;

use pgrx::pg_sys;

use crate::cluster_map;
use crate::error::callback;

static mut PREVIOUS: pg_sys::get_relation_stats_hook_type = None;

/// Installs the hook. Called once, at load.
pub fn init() {
    // SAFETY: as for every hook, set before any backend exists.
    unsafe {
        PREVIOUS = pg_sys::get_relation_stats_hook;
        pg_sys::get_relation_stats_hook = Some(relation_stats);
    }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn relation_stats(
    root: *mut pg_sys::PlannerInfo,
    rte: *mut pg_sys::RangeTblEntry,
    column: pg_sys::AttrNumber,
    found: *mut pg_sys::VariableStatData,
) -> bool {
    // SAFETY: called by the planner with valid pointers; no destructor here.
    unsafe {
        if let Some(previous) = PREVIOUS
            && previous(root, rte, column, found)
        {
            return true;
        }
        if (*rte).relkind != pg_sys::RELKIND_FOREIGN_TABLE as c_char || (*rte).inh {
            return false;
        }
        let tuple = callback(|| Ok(borrowed((*rte).relid, column)));
        if tuple.is_null() {
            return false;
        }
        (*found).statsTuple = tuple;
        (*found).freefunc = Some(release);
        // Only operators that tell nothing of the values look into them.
        (*found).acl_ok = false;
        true
    }
}

/// A row of pg_statistic that is to be released; null if the leaf has its own, or
/// there is none to borrow.
fn borrowed(relid: pg_sys::Oid, column: pg_sys::AttrNumber) -> pg_sys::HeapTuple {
    let none = std::ptr::null_mut();
    let Some(map) = cluster_map::map() else { return none };
    let Some(leaf) = map.family_of_leaf(relid).and_then(|family| family.here) else { return none };
    let cache = pg_sys::SysCacheIdentifier::STATRELATTINH as i32;
    // SAFETY: guarded look-ups.
    unsafe {
        let statistics = |relid: pg_sys::Oid, column: pg_sys::AttrNumber| {
            pg_sys::SearchSysCache3(
                cache,
                pg_sys::Datum::from(relid),
                pg_sys::Datum::from(column),
                pg_sys::Datum::from(false),
            )
        };
        let own = statistics(relid, column);
        if !own.is_null() {
            pg_sys::ReleaseSysCache(own);
            return none;
        }
        let name = pg_sys::get_attname(relid, column, true);
        if name.is_null() {
            return none;
        }
        match pg_sys::get_attnum(leaf, name) {
            0 => none,
            number => statistics(leaf, number),
        }
    }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn release(tuple: pg_sys::HeapTuple) {
    // SAFETY: the planner gives back what `borrowed` found.
    unsafe {
        callback(|| {
            pg_sys::ReleaseSysCache(tuple);
            Ok(())
        })
    }
}
