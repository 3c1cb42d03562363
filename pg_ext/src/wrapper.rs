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

/// The wrapper's options, a row for each and each object that it belongs to.
#[pg_extern(sql = false)]
fn wrapper_options() -> TableIterator<
    'static,
    (
        name!(option, &'static str),
        name!(command, &'static str),
        name!(takes, String),
        name!(default_value, &'static str),
        name!(effect, &'static str),
    ),
> {
    TableIterator::new(fdw::OPTIONS.iter().flat_map(|option| {
        option.carriers.iter().map(move |carrier| {
            (option.name, carrier.command(), option.values(), option.default, option.doc)
        })
    }))
}

/// The sessions with nodes and servers that this one has open.
#[pg_extern(sql = false)]
fn connections() -> TableIterator<
    'static,
    (
        name!(server_name, String),
        name!(node_id, Option<i32>),
        name!(valid, bool),
        name!(in_transaction, bool),
    ),
> {
    let open = fdw::session::open_sessions().map_err(Report::from).or_raise();
    TableIterator::new(open.into_iter().map(|s| {
        let node = s.node.and_then(|node| i32::try_from(node.0).ok());
        (s.name, node, s.is_valid, s.in_transaction)
    }))
}

#[pg_extern(sql = false)]
fn disconnect(server_name: &str) -> bool {
    fdw::session::disconnect(Some(server_name)).map_err(Report::from).or_raise()
}

#[pg_extern(sql = false)]
fn disconnect_all() -> bool {
    fdw::session::disconnect(None).map_err(Report::from).or_raise()
}
