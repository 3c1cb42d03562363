//! C strings, identifiers, and string nodes of plans. SQL is bytes in the
//! database's encoding; names in messages may lose what is not UTF-8.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys;

/// A copy of a C string's bytes; empty for null.
///
/// # Safety
/// `s` is null or a valid C string.
pub unsafe fn bytes_of(s: *const c_char) -> Vec<u8> {
    if s.is_null() {
        return Vec::new();
    }
    // SAFETY: per the contract.
    unsafe { CStr::from_ptr(s) }.to_bytes().to_vec()
}

/// A copy of a C string for messages and keys; empty for null.
///
/// # Safety
/// `s` is null or a valid C string.
pub unsafe fn text_of(s: *const c_char) -> String {
    // SAFETY: per the contract.
    String::from_utf8_lossy(&unsafe { bytes_of(s) }).into_owned()
}

/// A copy of a `NameData`.
pub fn name_of(name: &pg_sys::NameData) -> Vec<u8> {
    name.data.iter().map(|c| *c as u8).take_while(|b| *b != 0).collect()
}

/// The identifier as SQL wants it, quoted if needed.
pub fn quote_identifier(name: &[u8]) -> Vec<u8> {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: guarded; returns its argument or a palloc'd copy, copied here at once.
    unsafe { bytes_of(pg_sys::quote_identifier(name.as_ptr())) }
}

/// The string as an SQL literal.
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// The same of bytes in the database's encoding, whose multi-byte characters hold
/// no ASCII bytes.
pub fn quote_literal_bytes(text: &[u8]) -> Vec<u8> {
    let mut quoted = if text.contains(&b'\\') { b"E'".to_vec() } else { b"'".to_vec() };
    for byte in text {
        if matches!(byte, b'\'' | b'\\') {
            quoted.push(*byte);
        }
        quoted.push(*byte);
    }
    quoted.push(b'\'');
    quoted
}

/// A String node for `fdw_private`, in the current context. NULs end it.
pub fn string_node(bytes: &[u8]) -> *mut pg_sys::Node {
    let text = CString::new(bytes).unwrap_or_default();
    // SAFETY: guarded calls; pstrdup copies.
    unsafe { pg_sys::makeString(pg_sys::pstrdup(text.as_ptr())).cast() }
}

/// The bytes of a String node.
///
/// # Safety
/// `node` is a valid String node.
pub unsafe fn c_string_node(node: *const pg_sys::Node) -> Vec<u8> {
    // SAFETY: per the contract.
    unsafe { bytes_of((*node.cast::<pg_sys::String>()).sval) }
}
