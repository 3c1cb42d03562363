//! The extension `shardman`.
use pgrx::prelude::*;

::pgrx::pg_module_magic!();

extension_sql_file!("../../catalog_sql/schema/tables.sql", name = "tables");

#[allow(missing_docs)]
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {}
