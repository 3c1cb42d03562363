//! `List` of PostgreSQL.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// The pointers of a list, in order; nothing for NIL.
///
/// # Safety
/// `list` is NIL or a valid pointer list whose cells are `T`s, unchanged while
/// the iterator lives.
pub unsafe fn cells<T>(list: *const pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: per the contract.
    let len = if list.is_null() { 0 } else { unsafe { (*list).length as usize } };
    (0..len).map(move |i| unsafe { (*(*list).elements.add(i)).ptr_value.cast::<T>() })
}

/// The integers of an integer list.
///
/// # Safety
/// `list` is NIL or a valid integer list.
pub unsafe fn ints(list: *const pg_sys::List) -> Vec<i32> {
    // SAFETY: per the contract.
    let len = if list.is_null() { 0 } else { unsafe { (*list).length as usize } };
    (0..len).map(|i| unsafe { (*(*list).elements.add(i)).int_value }).collect()
}

/// The OIDs of an OID list.
///
/// # Safety
/// `list` is NIL or a valid OID list.
pub unsafe fn oids(list: *const pg_sys::List) -> Vec<pg_sys::Oid> {
    // SAFETY: per the contract.
    let len = if list.is_null() { 0 } else { unsafe { (*list).length as usize } };
    (0..len).map(|i| unsafe { (*(*list).elements.add(i)).oid_value }).collect()
}

/// A fresh integer list in the current context.
pub fn int_list(values: &[i32]) -> *mut pg_sys::List {
    // SAFETY: guarded calls that only allocate.
    values.iter().fold(std::ptr::null_mut(), |list, v| unsafe { pg_sys::lappend_int(list, *v) })
}
