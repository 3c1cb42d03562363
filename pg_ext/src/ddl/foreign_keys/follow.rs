//! Leaves' foreign keys follow changes of their parents'.

use crate::catalog::ActingAs;
use crate::ddl::OwnWork;
use crate::ddl::generated::run_generated;
use crate::report::Report;

/// After a statement changed parents: gives the foreign keys of real leaves the
/// names and the deferrability of their parents'.
pub fn follow() -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    // Neither change evaluates anything of the user's.
    let _acting = ActingAs::owner_of_the_catalogs();
    run_generated(
            "SELECT s.sql
             FROM pg_catalog.pg_constraint AS k
                  JOIN shardman.sharded_table AS t ON t.rel OPERATOR(pg_catalog.=) k.conrelid
                  JOIN pg_catalog.pg_depend AS d ON d.refobjid OPERATOR(pg_catalog.=) k.oid
                       AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass
                       AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass
                  JOIN pg_catalog.pg_constraint AS lk ON lk.oid OPERATOR(pg_catalog.=) d.objid
                       AND lk.contype OPERATOR(pg_catalog.=) 'f'
                  JOIN pg_catalog.pg_class AS l ON l.oid OPERATOR(pg_catalog.=) lk.conrelid
                  CROSS JOIN LATERAL (VALUES
                      (1, lk.conname OPERATOR(pg_catalog.<>) k.conname,
                       pg_catalog.format('ALTER TABLE shardman_data.%I RENAME CONSTRAINT %I TO %I', l.relname, lk.conname, k.conname)),
                      (2, (lk.condeferrable, lk.condeferred) OPERATOR(pg_catalog.<>) (k.condeferrable, k.condeferred),
                       pg_catalog.format('ALTER TABLE shardman_data.%I ALTER CONSTRAINT %I %s', l.relname, k.conname,
                           CASE WHEN k.condeferred THEN 'DEFERRABLE INITIALLY DEFERRED'
                                WHEN k.condeferrable THEN 'DEFERRABLE INITIALLY IMMEDIATE'
                                ELSE 'NOT DEFERRABLE' END))) AS s(step, is_due, sql)
             WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND s.is_due
             ORDER BY l.relname, s.step",
    )
}
