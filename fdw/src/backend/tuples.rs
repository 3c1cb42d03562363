//! Heap tuples made of remote values.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// A tuple of these values in the current context, with the remote ctid, and
/// with system columns that say nothing rather than something wrong.
///
/// # Safety
/// Both arrays have an entry for each attribute of `descriptor`.
pub unsafe fn form_tuple(
    descriptor: pg_sys::TupleDesc,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
    ctid: Option<pg_sys::ItemPointerData>,
) -> pg_sys::HeapTuple {
    // SAFETY: guarded; the header belongs to the fresh tuple. Forming leaves
    // the fields of a row value where xmin, xmax and cid are looked for.
    unsafe {
        let tuple = pg_sys::heap_form_tuple(descriptor, values, nulls);
        let heap = &raw mut (*(*tuple).t_data).t_choice.t_heap;
        (*heap).t_xmin = pg_sys::InvalidTransactionId;
        (*heap).t_xmax = pg_sys::InvalidTransactionId;
        (*heap).t_field3.t_cid = 0;
        if let Some(ctid) = ctid {
            (*tuple).t_self = ctid;
            (*(*tuple).t_data).t_ctid = ctid;
        }
        tuple
    }
}
