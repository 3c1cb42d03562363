//! What a remote session of a node must be told: user and search path.
#![allow(unsafe_code)]

use std::ffi::CString;

use pgrx::pg_sys;

use crate::backend::{cells, quote_literal, text_of};
use crate::error::Refusal;

/// `SET shardman.effective_user` to the current user and `SET search_path` to
/// the sender's path, so that functions find there what they find here.
pub fn default_opening_statements() -> Result<String, Refusal> {
    // SAFETY: guarded calls; a palloc'd and a static C string.
    let (user, path) = unsafe {
        let user = text_of(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false));
        (user, text_of(pg_sys::GetConfigOption(c"search_path".as_ptr(), true, false)))
    };
    let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let mut schemas = split(&path).iter().map(quoted).collect::<Vec<_>>().join(", ");
    if schemas.is_empty() {
        schemas.push_str("''");
    }
    Ok(format!(
        "SET shardman.effective_user = {}; SET search_path = {schemas}",
        quote_literal(&user),
    ))
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
