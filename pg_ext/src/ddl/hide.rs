//! HIDE: DDL that PostgreSQL refuses on a parent with foreign leaves, or must
//! not bring to any leaf.
//!
//! Under an ACCESS EXCLUSIVE lock on the parent the leaves' rows are taken out
//! of pg_inherits, the stock statement runs over what is left, and the rows come
//! back, all in one transaction. Not for statements that must reach those leaves
//! too (ADD COLUMN and the like).
#![allow(unsafe_code)]

use pgrx::prelude::*;

use crate::catalog::ActingAs;
use crate::report::Report;

/// Leaves of a parent, hidden until [`Hidden::show`].
#[must_use]
pub struct Hidden {
    parent: pg_sys::Oid,
    leaves: Vec<pg_sys::Oid>,
}

impl Hidden {
    /// Locks the parent ACCESS EXCLUSIVE and hides its foreign leaves.
    pub fn hide(parent: pg_sys::Oid) -> Result<Self, Report> {
        Self::hide_kinds(parent, "f")
    }

    /// The same with all its leaves.
    pub fn hide_all(parent: pg_sys::Oid) -> Result<Self, Report> {
        Self::hide_kinds(parent, "rf")
    }

    fn hide_kinds(parent: pg_sys::Oid, kinds: &str) -> Result<Self, Report> {
        // SAFETY: takes a lock, answering to cancel.
        unsafe { pg_sys::LockRelationOid(parent, pg_sys::AccessExclusiveLock as i32) };
        let _acting = ActingAs::owner_of_the_catalogs();
        let leaves = Spi::connect_mut(|client| -> Result<Vec<pg_sys::Oid>, Report> {
            let hidden = client.update(
                "DELETE FROM pg_catalog.pg_inherits AS i USING pg_catalog.pg_class AS c
                 WHERE i.inhparent OPERATOR(pg_catalog.=) $1
                   AND c.oid OPERATOR(pg_catalog.=) i.inhrelid
                   AND pg_catalog.strpos($2, c.relkind::pg_catalog.text) OPERATOR(pg_catalog.>) 0
                 RETURNING i.inhrelid",
                None,
                &[parent.into(), kinds.into()],
            )?;
            let leaves = hidden.map(|row| row.get::<pg_sys::Oid>(1));
            Ok(leaves.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })?;
        invalidate(parent);
        Ok(Hidden { parent, leaves })
    }

    /// Drops them, after they were shown.
    pub fn drop_leaves(&self) -> Result<(), Report> {
        let _acting = ActingAs::owner_of_the_catalogs();
        let names = Spi::get_one_with_args::<String>(
            "SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.relname), ', ')
             FROM pg_catalog.pg_class AS c
                  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
             WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1)",
            &[self.leaves.clone().into()],
        )?;
        match names {
            Some(names) => Ok(Spi::run(&format!("DROP FOREIGN TABLE {names}"))?),
            None => Ok(()),
        }
    }

    /// Shows them again.
    pub fn show(&self) -> Result<(), Report> {
        let _acting = ActingAs::owner_of_the_catalogs();
        Spi::run_with_args(
            "INSERT INTO pg_catalog.pg_inherits (inhrelid, inhparent, inhseqno, inhdetachpending)
             SELECT leaf, $1, 1, false FROM pg_catalog.unnest($2) AS leaf",
            &[self.parent.into(), self.leaves.clone().into()],
        )?;
        invalidate(self.parent);
        Ok(())
    }
}

fn invalidate(parent: pg_sys::Oid) {
    // SAFETY: the parent exists and is locked by us.
    unsafe {
        pg_sys::CacheInvalidateRelcacheByRelid(parent);
        pg_sys::CommandCounterIncrement();
    }
}
