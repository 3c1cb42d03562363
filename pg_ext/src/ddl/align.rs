//! Bringing leaves and the shard map in line with their parents.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::OwnWork;
use super::generated::run_generated;
use crate::catalog::{ActingAs, note_changed_tables};
use crate::report::Report;

/// After a statement changed parents: leaves belong to their parent's owner
/// again, and the shard map knows the distribution columns by their new names.
pub fn align() -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    // Changes of owner evaluate nothing of the user's.
    let _acting = ActingAs::owner_of_the_catalogs();
    run_generated(
        "SELECT pg_catalog.format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, l.relname,
                                      pg_catalog.pg_get_userbyid(p.relowner))
             FROM shardman.sharded_table AS t
                  JOIN pg_catalog.pg_class AS p ON p.oid OPERATOR(pg_catalog.=) t.rel
                  JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) t.rel
                  JOIN pg_catalog.pg_class AS l ON l.oid OPERATOR(pg_catalog.=) i.inhrelid
                  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) l.relnamespace
             WHERE l.relowner OPERATOR(pg_catalog.<>) p.relowner",
    )?;
    let renamed = Spi::get_one::<bool>(
        "WITH keys AS (
             SELECT k.partrelid, pg_catalog.array_agg(a.attname ORDER BY e.n) AS columns
             FROM pg_catalog.pg_partitioned_table AS k
                  CROSS JOIN LATERAL pg_catalog.unnest(k.partattrs::pg_catalog.int2[]) WITH ORDINALITY AS e(attnum, n)
                  JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) k.partrelid
                       AND a.attnum OPERATOR(pg_catalog.=) e.attnum
             GROUP BY k.partrelid),
         changed AS (
             UPDATE shardman.sharded_table AS t SET distribution_columns = keys.columns FROM keys
             WHERE keys.partrelid OPERATOR(pg_catalog.=) t.rel
               AND keys.columns OPERATOR(pg_catalog.<>) t.distribution_columns
             RETURNING 1)
         SELECT EXISTS (SELECT FROM changed)",
    )?;
    if renamed == Some(true) {
        note_changed_tables()?;
    }
    Ok(())
}
