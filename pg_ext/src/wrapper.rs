//! The wrapper's SQL-callable functions.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use crate::report::{OrRaise, Report};

#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_fdw_handler_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `shardman.fdw_handler()`: no Rust type stands for `fdw_handler`.
#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fdw_handler_wrapper(
    _call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: PostgreSQL calls it as a function; no destructor is live here.
    unsafe { fdw::callback(|| Ok(pg_sys::Datum::from(fdw::handler()))) }
}

#[pg_extern(sql = false)]
fn fdw_validator(options: Vec<String>, catalog: pg_sys::Oid) {
    fdw::validate_options(&options, catalog).map_err(Report::from).or_raise()
}
