//! Memory contexts.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// Makes a context current; the former one is current again when this is
/// dropped, also while unwinding.
pub struct ContextGuard(pg_sys::MemoryContext);

impl ContextGuard {
    /// # Safety
    /// `context` outlives the guard.
    pub unsafe fn enter(context: pg_sys::MemoryContext) -> ContextGuard {
        // SAFETY: the backend's own variable on its main thread.
        unsafe {
            let former = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = context;
            ContextGuard(former)
        }
    }
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        // SAFETY: the context was current before and outlives this frame.
        unsafe { pg_sys::CurrentMemoryContext = self.0 }
    }
}

/// A child context for the values of a few rows, reset in bulk.
///
/// # Safety
/// `parent` is a live context.
pub unsafe fn tuple_context(parent: pg_sys::MemoryContext) -> pg_sys::MemoryContext {
    // SAFETY: guarded call; the name is static as PostgreSQL asks.
    unsafe {
        pg_sys::AllocSetContextCreateInternal(
            parent,
            c"shardman foreign tuples".as_ptr(),
            0,
            8 * 1024,
            1024 * 1024,
        )
    }
}
