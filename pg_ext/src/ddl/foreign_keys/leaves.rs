//! The foreign keys of leaves, which do the work.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use crate::catalog::ActingAs;
use crate::ddl::OwnWork;
use crate::report::Report;

/// The OID of pg_catalog.pg_constraint, the same in every database.
const PG_CONSTRAINT: u32 = 2606;

/// A leaf's foreign key that is missing on this node.
struct Missing {
    statement: String,
    leaf: pg_sys::Oid,
    /// The parent's constraint.
    constraint: pg_sys::Oid,
    /// Of the leaf.
    owner: pg_sys::Oid,
    /// What lets that owner reference the other leaf for a moment, and no
    /// longer; none if both belong to the same role.
    grant: Option<(String, String)>,
}

/// Gives the real leaves here the foreign keys that their parents have: those
/// between `rel` and any sharded or replicated table, in both directions, of the partition
/// with the remainder `partition` or of all. What is there already stays.
/// Rows that are there are checked.
///
/// To be called for each table of a group when one of its partitions becomes a
/// real leaf on this node. Locks leaves as ADD FOREIGN KEY does.
pub fn enforce(rel: pg_sys::Oid, partition: Option<u16>) -> Result<(), Report> {
    add_missing(rel, partition, true)
}

/// The same without a look at the rows, which come from a partition that had the
/// foreign keys.
pub fn enforce_from_now_on(rel: pg_sys::Oid, partition: u16) -> Result<(), Report> {
    add_missing(rel, Some(partition), false)
}

fn add_missing(rel: pg_sys::Oid, partition: Option<u16>, looks: bool) -> Result<(), Report> {
    let missing = missing(rel, partition)?;
    if missing.is_empty() {
        return Ok(());
    }
    let _own_work = OwnWork::begin();
    for key in missing {
        if let Some((grant, _)) = &key.grant {
            let _acting = ActingAs::owner_of_the_catalogs();
            Spi::run(grant)?;
        }
        {
            // As the leaf's owner: checking the rows may run the owner's code.
            let _acting = ActingAs::user(key.owner);
            let how = if looks { "" } else { " NOT VALID" };
            Spi::run(&format!("{}{how}", key.statement))?;
        }
        if let Some((_, revoke)) = &key.grant {
            let _acting = ActingAs::owner_of_the_catalogs();
            Spi::run(revoke)?;
        }
        depend(key.leaf, key.constraint, !looks)?;
    }
    Ok(())
}

fn missing(rel: pg_sys::Oid, partition: Option<u16>) -> Result<Vec<Missing>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let partition = partition.map_or(-1, i32::from);
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT shardman.describe_leaf_foreign_key(k.oid, l.oid, r.oid), l.oid, k.oid, l.relowner,
                    CASE WHEN l.relowner OPERATOR(pg_catalog.<>) r.relowner
                              AND NOT pg_catalog.has_table_privilege(l.relowner, r.oid, 'REFERENCES') THEN
                        pg_catalog.format('REFERENCES ON %s.%I ', r.relnamespace::pg_catalog.regnamespace, r.relname) END,
                    pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(l.relowner))
             FROM pg_catalog.pg_constraint AS k
                  JOIN shardman.sharded_table AS t ON t.rel OPERATOR(pg_catalog.=) k.conrelid
                  JOIN pg_catalog.pg_inherits AS li ON li.inhparent OPERATOR(pg_catalog.=) k.conrelid
                  JOIN pg_catalog.pg_class AS l ON l.oid OPERATOR(pg_catalog.=) li.inhrelid
                  JOIN LATERAL (
                      SELECT i.inhrelid AS rel FROM pg_catalog.pg_inherits AS i WHERE i.inhparent OPERATOR(pg_catalog.=) k.confrelid
                      UNION ALL
                      SELECT o.rel FROM shardman.replicated_table AS o WHERE o.rel OPERATOR(pg_catalog.=) k.confrelid) AS ri ON true
                  JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) ri.rel
             WHERE k.contype OPERATOR(pg_catalog.=) 'f'
               AND (k.conrelid OPERATOR(pg_catalog.=) $1 OR k.confrelid OPERATOR(pg_catalog.=) $1)
               AND l.relkind OPERATOR(pg_catalog.=) 'r' AND r.relkind OPERATOR(pg_catalog.=) 'r'
               AND (r.oid OPERATOR(pg_catalog.=) k.confrelid OR
                    pg_catalog.pg_get_expr(l.relpartbound, l.oid) OPERATOR(pg_catalog.=) pg_catalog.pg_get_expr(r.relpartbound, r.oid))
               AND ($2 OPERATOR(pg_catalog.<) 0 OR
                    pg_catalog.pg_get_expr(l.relpartbound, l.oid) OPERATOR(pg_catalog.~~) ('%remainder ' || $2 || ')'))
               AND NOT EXISTS (
                   SELECT FROM pg_catalog.pg_depend AS d
                        JOIN pg_catalog.pg_constraint AS lk ON lk.oid OPERATOR(pg_catalog.=) d.objid
                   WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass
                     AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass
                     AND d.refobjid OPERATOR(pg_catalog.=) k.oid AND lk.conrelid OPERATOR(pg_catalog.=) l.oid)
             ORDER BY l.relname, k.conname",
            None,
            &[rel.into(), partition.into()],
        )?;
        let mut missing = Vec::new();
        for row in rows {
            let oid = |at| Ok::<_, Report>(row.get::<pg_sys::Oid>(at)?.unwrap_or_default());
            let owner_name = row.get::<String>(6)?.unwrap_or_default();
            let right = row.get::<String>(5)?;
            missing.push(Missing {
                statement: row.get::<String>(1)?.unwrap_or_default(),
                leaf: oid(2)?,
                constraint: oid(3)?,
                owner: oid(4)?,
                grant: right.map(|right| {
                    (
                        format!("GRANT {right}TO {owner_name}"),
                        format!("REVOKE {right}FROM {owner_name}"),
                    )
                }),
            });
        }
        Ok(missing)
    })
}

/// Lets the newest foreign key of a leaf go when the parent's goes.
/// One that is known to hold is marked so.
fn depend(leaf: pg_sys::Oid, constraint: pg_sys::Oid, is_known: bool) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    // It has the parent's name.
    let own = Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT l.oid FROM pg_catalog.pg_constraint AS l
              JOIN pg_catalog.pg_constraint AS p ON p.conname OPERATOR(pg_catalog.=) l.conname
         WHERE l.conrelid OPERATOR(pg_catalog.=) $1 AND p.oid OPERATOR(pg_catalog.=) $2",
        &[leaf.into(), constraint.into()],
    )?;
    if is_known && let Some(own) = own {
        Spi::run_with_args(
            "UPDATE pg_catalog.pg_constraint SET convalidated = true
             WHERE oid OPERATOR(pg_catalog.=) $1",
            &[own.into()],
        )?;
        // SAFETY: the leaf exists.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(leaf) };
    }
    let address = |object| pg_sys::ObjectAddress {
        classId: pg_sys::Oid::from(PG_CONSTRAINT),
        objectId: object,
        objectSubId: 0,
    };
    let (own, parent) = (address(own.unwrap_or_default()), address(constraint));
    // SAFETY: both constraints exist.
    unsafe {
        pg_sys::recordDependencyOn(&own, &parent, pg_sys::DependencyType::DEPENDENCY_AUTO);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}
