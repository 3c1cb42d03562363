//! Which columns travel in a modification, there and back.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;

use crate::backend::Attribute;

/// The columns that expressions look at, as `RETURNING` must bring them; ctid
/// is -1. `whole` asks for all.
///
/// # Safety
/// `expressions` are valid expression lists; `varnos` the range table indexes
/// that may stand for the relation in them.
pub unsafe fn looked_at(
    expressions: &[*mut pg_sys::List],
    varnos: &[u32],
    attributes: &[Attribute],
    whole: bool,
) -> Vec<i32> {
    let mut used: *mut pg_sys::Bitmapset = null_mut();
    for list in expressions {
        for varno in varnos {
            // SAFETY: guarded; per the contract.
            unsafe { pg_sys::pull_varattnos((*list).cast(), *varno, &raw mut used) };
        }
    }
    // SAFETY: guarded; the members are attribute numbers plus 7.
    let is_used = |number: i32| unsafe {
        pg_sys::bms_is_member(number - pg_sys::FirstLowInvalidHeapAttributeNumber, used)
    };
    let whole = whole || is_used(0);
    let mut columns: Vec<i32> =
        attributes.iter().map(|a| i32::from(a.number)).filter(|n| whole || is_used(*n)).collect();
    if is_used(pg_sys::SelfItemPointerAttributeNumber) {
        columns.push(pg_sys::SelfItemPointerAttributeNumber);
    }
    columns
}
