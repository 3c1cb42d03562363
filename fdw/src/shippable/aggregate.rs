//! Aggregate calls: what they consist of besides expressions, and how their
//! transition state travels.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::NotShippable;
use crate::types::is_builtin;

/// Columns of pg_aggregate, the same in 15 to 18.
const FINAL_FUNCTION: i16 = 5;
const TRANSITION_TYPE: i16 = 17;

/// How the other side returns the transition state of a partial aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateForm {
    /// The aggregate has no final function: its result is its state.
    Result,
    /// Only the executor over there can stop before the final function.
    Marked,
}

/// How to get the state of `aggregate`, a partial one.
///
/// # Safety
/// `aggregate` is a valid Aggref that the planner has prepared.
pub unsafe fn state_form(aggregate: *const pg_sys::Aggref) -> Result<StateForm, NotShippable> {
    // SAFETY: guarded look-ups; both columns are never null and of type oid.
    let (final_function, declared) = unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::AGGFNOID as i32,
            pg_sys::Datum::from((*aggregate).aggfnoid),
        );
        if tuple.is_null() {
            return Err(NotShippable { reason: "it calls an aggregate that does not exist" });
        }
        let column = |number| {
            let mut is_null = false;
            let cache = pg_sys::SysCacheIdentifier::AGGFNOID as i32;
            let value = pg_sys::SysCacheGetAttr(cache, tuple, number, &raw mut is_null);
            pg_sys::Oid::from(value.value() as u32)
        };
        let columns = (column(FINAL_FUNCTION), column(TRANSITION_TYPE));
        pg_sys::ReleaseSysCache(tuple);
        columns
    };
    // SAFETY: per the contract.
    let resolved = unsafe { (*aggregate).aggtranstype };
    if declared != resolved {
        return Err(NotShippable { reason: "an aggregate's state has no type of its own" });
    }
    if final_function == pg_sys::InvalidOid
        && is_builtin(resolved)
        && declared != pg_sys::INTERNALOID
    {
        return Ok(StateForm::Result);
    }
    Ok(StateForm::Marked)
}
