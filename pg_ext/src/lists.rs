//! PostgreSQL's lists as Rust iterators and back.
#![allow(unsafe_code)]

use pgrx::pg_sys;

pub use fdw::{cells as elements, text_of as text};

/// A new list in the current memory context.
///
/// # Safety
/// Every pointer is a valid node or whatever the list's reader expects.
pub unsafe fn list_of<T>(items: impl IntoIterator<Item = *mut T>) -> *mut pg_sys::List {
    let mut list = std::ptr::null_mut();
    for item in items {
        // SAFETY: lappend makes or grows a list in the current context.
        list = unsafe { pg_sys::lappend(list, item.cast()) };
    }
    list
}
