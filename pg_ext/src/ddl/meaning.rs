//! The settings that give a statement's text its meaning.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use pgrx::prelude::*;

use crate::lists::text;
use crate::report::Report;

/// What the text of a statement depends on besides the catalogues.
const SETTINGS: [&CStr; 10] = [
    c"search_path",
    c"check_function_bodies",
    c"standard_conforming_strings",
    c"datestyle",
    c"intervalstyle",
    c"timezone",
    c"array_nulls",
    c"xmloption",
    c"default_table_access_method",
    c"default_toast_compression",
];

/// Their values here, by name.
pub fn current_settings() -> Vec<(String, String)> {
    let read = |name: &CStr| {
        // SAFETY: a setting that exists; the string is copied at once.
        let value = unsafe { text(pg_sys::GetConfigOption(name.as_ptr(), true, false)) };
        (name.to_string_lossy().into_owned(), value)
    };
    SETTINGS.iter().map(|name| read(name)).collect()
}

/// Puts one in force, within the current nest level of settings.
pub fn set(name: &str, value: &str) -> Result<(), Report> {
    let (Ok(c_name), Ok(c_value)) = (CString::new(name), CString::new(value)) else {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            format!("invalid value for setting \"{name}\" in a command of another node"),
        ));
    };
    // SAFETY: NUL-terminated strings; an invalid value raises ERROR, which the
    // guard around us turns into a panic that unwinds.
    unsafe {
        pg_sys::set_config_option(
            c_name.as_ptr(),
            c_value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
    Ok(())
}
