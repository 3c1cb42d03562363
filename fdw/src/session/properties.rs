//! What a remote session of a node must be told: user and search path.
#![allow(unsafe_code)]

use std::ffi::CString;

use pgrx::pg_sys;

use crate::backend::{cells, quote_literal, text_of};
use crate::error::Refusal;

/// `SET shardman.effective_user` to the current user and `SET search_path` to
/// the leaves' schema followed by the sender's path.
pub fn default_opening_statements() -> Result<String, Refusal> {
    // SAFETY: guarded calls that return palloc'd or static C strings.
    let user = unsafe { text_of(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false)) };
    Ok(format!(
        "SET shardman.effective_user = {}; SET search_path = {}",
        quote_literal(&user),
        search_path("shardman_data")
    ))
}

/// `first`, the sender's search path, and pg_temp, as a list of quoted names
/// that both SET and a setting's text take. Remote SQL is printed under the
/// same path with `shardman_remote` as its first, so that names mean the same.
pub fn search_path(first: &str) -> String {
    // SAFETY: guarded call that returns a static C string.
    let path = unsafe { text_of(pg_sys::GetConfigOption(c"search_path".as_ptr(), true, false)) };
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut schemas = vec![quoted(first)];
    schemas.extend(
        split(&path).iter().filter(|s| !s.is_empty() && *s != "pg_temp").map(|s| quoted(s)),
    );
    schemas.push("pg_temp".to_string());
    schemas.join(", ")
}

/// The names of a search path; taken apart and quoted again because a
/// setting's text is not SQL that could be passed on.
fn split(path: &str) -> Vec<String> {
    let raw = CString::new(path).unwrap_or_default();
    // SAFETY: guarded; the function cuts up the palloc'd copy that it is given
    // and fills a list of pointers into it.
    unsafe {
        let copy = pg_sys::pstrdup(raw.as_ptr());
        let mut list: *mut pg_sys::List = std::ptr::null_mut();
        if !pg_sys::SplitIdentifierString(copy, b',' as i8, &raw mut list) {
            return Vec::new();
        }
        cells::<std::ffi::c_char>(list).map(|s| text_of(s)).collect()
    }
}
