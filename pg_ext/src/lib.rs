//! The extension `shardman`: hooks, SQL-callable functions, workers, settings.
//!
//! What it decides, it decides in `cluster`; how a statement reaches other
//! nodes is in `fdw`; the metadata log is in `raft`. This crate ties them to
//! the server.

use pgrx::prelude::*;

mod catalog;
mod cluster_map;
mod compat;
mod counters;
mod ddl;
mod deadlock;
mod gate;
mod hooks;
mod in_doubt;
mod jobs;
mod lasting_user;
mod lists;
mod membership;
mod moving;
mod node_session;
mod partition_for_value;
mod peers;
mod recovery;
mod replicated;
mod report;
mod row_log;
mod schema_change;
mod sequence;
mod settings;
mod shared_memory;
mod snapshot;
mod upsert;
mod worker;
mod wrapper;

::pgrx::pg_module_magic!();

extension_sql_file!("../../catalog_sql/schema/install.sql", name = "install", bootstrap);
extension_sql_file!("../../catalog_sql/schema/tables.sql", name = "tables", requires = ["install"]);
extension_sql_file!("../../catalog_sql/schema/roles.sql", name = "roles", requires = ["tables"]);
extension_sql_file!(
    "../../catalog_sql/schema/functions.sql",
    name = "functions",
    requires = ["roles"]
);
extension_sql_file!(
    "../../catalog_sql/schema/describe.sql",
    name = "describe",
    requires = ["functions"]
);
extension_sql_file!(
    "../../catalog_sql/schema/wrapper.sql",
    name = "wrapper",
    requires = ["describe"]
);
extension_sql_file!("../../catalog_sql/schema/locks.sql", name = "locks", requires = ["wrapper"]);
extension_sql_file!("../../catalog_sql/schema/views.sql", name = "views", requires = ["locks"]);
extension_sql_file!("../../catalog_sql/schema/moves.sql", name = "moves", requires = ["jobs"]);
extension_sql_file!(
    "../../catalog_sql/schema/sequences.sql",
    name = "sequences",
    requires = ["views"]
);
extension_sql_file!(
    "../../catalog_sql/schema/replicated.sql",
    name = "replicated",
    requires = ["views"]
);
extension_sql_file!(
    "../../catalog_sql/schema/row_logs.sql",
    name = "row_logs",
    requires = ["replicated"]
);
extension_sql_file!(
    "../../catalog_sql/schema/repair.sql",
    name = "repair",
    requires = ["sequences"]
);
extension_sql_file!("../../catalog_sql/schema/jobs.sql", name = "jobs", requires = ["views"]);
extension_sql_file!(
    "../../catalog_sql/schema/health.sql",
    name = "health",
    requires = ["jobs", "moves", "replicated"]
);

#[allow(missing_docs)]
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    if !is_being_preloaded() {
        report::Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "shardman must be loaded via shared_preload_libraries",
        )
        .hint("Add shardman to shared_preload_libraries in postgresql.conf and restart the server.")
        .raise()
    }
    settings::define();
    catalog::init();
    // Before the callbacks of the sessions that it is about: it comes after them.
    lasting_user::init();
    node_session::init();
    gate::set_time_base();
    shared_memory::init();
    deadlock::init();
    fdw::register(&cluster_map::Catalogs);
    // Transaction callbacks run in reverse order.
    // The log's answer decides: nothing may fail after it.
    row_log::init();
    schema_change::init();
    gate::init();
    fdw::init();
    fdw::borrow_statistics();
    fdw::router::init();
    snapshot::init();
    sequence::init();
    replicated::init();
    hooks::install();
    worker::register();
    recovery::init();
    schema_change::register();
    row_log::register();
    deadlock::register();
    jobs::register();
}

#[allow(unsafe_code)]
fn is_being_preloaded() -> bool {
    // SAFETY: reads a variable of the postmaster.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Whether this backend is connected to the database that the cluster lives
/// in. Elsewhere every hook is inert. Must be called in a transaction.
#[allow(unsafe_code)]
fn in_cluster_database() -> bool {
    use std::cell::Cell;
    thread_local! {
        static KNOWN: Cell<Option<bool>> = const { Cell::new(None) };
    }
    if let Some(known) = KNOWN.get() {
        return known;
    }
    // SAFETY: reads backend state; the look-up runs in a transaction and
    // returns a palloc'd name or null.
    unsafe {
        if pg_sys::MyDatabaseId == pg_sys::InvalidOid || !pg_sys::IsTransactionState() {
            return false;
        }
        let name = lists::text(pg_sys::get_database_name(pg_sys::MyDatabaseId));
        let known = name == settings::database();
        KNOWN.set(Some(known));
        known
    }
}
