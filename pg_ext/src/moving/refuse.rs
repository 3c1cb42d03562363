//! DDL on tables that are on the move.

use cluster::TableId;
use pgrx::prelude::*;

use crate::catalog::{ActingAs, qualified_name, registry};
use crate::report::Report;

/// Refuses DDL on sharded tables of which a partition is on the move. The DDL
/// lock is held, so no move begins meanwhile.
pub fn tables_not_while_moving(rels: &[pg_sys::Oid]) -> Result<(), Report> {
    let registry = registry()?;
    let tables = rels.iter().filter_map(|rel| registry.table_of(*rel));
    tables.map(|table| (table.group_id, table.rel)).try_for_each(|(group, rel)| {
        not_while_moving(group, &format!("cannot alter table {}", qualified_name(rel)))
    })
}

/// The same for a colocation group; `message` says what cannot be done.
pub fn not_while_moving(group: TableId, message: &str) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let moving = Spi::connect(|client| -> Result<Option<(i32, i64)>, Report> {
        let mut rows = client.select(
            "SELECT pnum, job_id FROM shardman.move WHERE group_id OPERATOR(pg_catalog.=) $1
             ORDER BY pnum LIMIT 1",
            None,
            &[(group.0 as i64).into()],
        )?;
        Ok(match rows.next() {
            Some(row) => Some((row.get(1)?.unwrap_or_default(), row.get(2)?.unwrap_or_default())),
            None => None,
        })
    })?;
    let Some((partition, job)) = moving else { return Ok(()) };
    Err(Report::new(PgSqlErrorCode::ERRCODE_OBJECT_IN_USE, message)
        .detail(format!("Job {job} is moving its partition {partition} to another node."))
        .hint("Wait for it with shardman.wait_cmd(), or stop it with shardman.cancel_cmd()."))
}
