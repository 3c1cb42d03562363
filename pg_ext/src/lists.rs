//! PostgreSQL's lists as Rust iterators and back.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// The pointers of a list, in order; nothing for NIL.
///
/// # Safety
/// `list` is NIL or a valid list of pointers to `T` that outlives the iterator
/// and is not changed meanwhile.
pub unsafe fn elements<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: the caller's promise; a list's elements are `length` cells.
    let cells: &[pg_sys::ListCell] = unsafe {
        if list.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts((*list).elements, (*list).length as usize)
        }
    };
    // SAFETY: a pointer list's cells hold pointers.
    cells.iter().map(|cell| unsafe { cell.ptr_value.cast() })
}

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

/// A NUL-terminated string of PostgreSQL, copied; empty for null.
///
/// # Safety
/// `text` is null or valid and NUL-terminated.
pub unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
