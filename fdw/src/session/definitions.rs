//! Remote statements are prepared under their text. After DDL the same text may
//! return other types, which a prepared statement there refuses: so those made
//! before a known relation was changed here are prepared anew.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use pgrx::pg_sys;

thread_local! {
    static KNOWN: RefCell<HashSet<pg_sys::Oid>> = RefCell::default();
    static GENERATION: Cell<u64> = const { Cell::new(0) };
}

/// Of all definitions that remote statements are made from.
pub fn generation() -> u64 {
    GENERATION.get()
}

/// A remote statement depends on these relations.
pub fn note(relations: &[pg_sys::Oid]) {
    KNOWN.with(|known| known.borrow_mut().extend(relations));
}

/// Has changes of relations noticed; once, at load.
pub fn init() {
    // SAFETY: guarded call; the function lives as long as the process.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::from(0usize));
    }
}

/// Called when a relation's definition may have changed, of all of them with an
/// invalid OID. Neither raises nor allocates.
unsafe extern "C-unwind" fn changed(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    KNOWN.with(|known| {
        // Borrowed only while `note` extends the set, which calls nothing.
        let Ok(mut known) = known.try_borrow_mut() else { return };
        let is_known = relation == pg_sys::InvalidOid || known.contains(&relation);
        if is_known {
            known.clear();
            GENERATION.set(GENERATION.get() + 1);
        }
    });
}
