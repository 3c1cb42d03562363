//! FLIP: attaching a leaf to a parent that has unique indexes or foreign keys.
//!
//! PostgreSQL refuses it because it cannot know that the other side checks
//! uniqueness. We do know: the key contains the distribution columns, and the
//! owner of each leaf has the real index. So the parent's unique indexes are
//! plain ones for the length of the statement. Foreign keys of the parent are
//! there to be seen (see `foreign_keys`) and must not be cloned to leaves: they
//! are of a kind meanwhile that PostgreSQL looks for nowhere. The rows come back in the same
//! transaction; no other session ever sees them changed, and the changed index
//! entries invalidate themselves.

#![allow(unsafe_code)]

use pgrx::prelude::*;

use crate::catalog::ActingAs;
use crate::report::Report;

/// The unique indexes of a parent, made plain, and its foreign keys, made
/// nothing, until [`Flip::back`].
#[must_use]
pub struct Flip {
    parent: pg_sys::Oid,
    foreign_keys: Vec<pg_sys::Oid>,
    unique: Vec<pg_sys::Oid>,
    primary: Vec<pg_sys::Oid>,
}

impl Flip {
    /// Makes them plain. The caller holds a lock on the parent that keeps
    /// others from using it.
    pub fn over(parent: pg_sys::Oid) -> Result<Self, Report> {
        let unique = indexes_where(parent, "indisunique")?;
        let primary = indexes_where(parent, "indisprimary")?;
        set_flags(&unique, "indisunique = false, indisprimary = false")?;
        let foreign_keys = foreign_keys_of(parent)?;
        set_kind(parent, &foreign_keys, "t")?;
        Ok(Flip { parent, foreign_keys, unique, primary })
    }

    /// Foreign keys only, to attach a table that has the indexes.
    pub fn over_foreign_keys(parent: pg_sys::Oid) -> Result<Self, Report> {
        let foreign_keys = foreign_keys_of(parent)?;
        set_kind(parent, &foreign_keys, "t")?;
        Ok(Flip { parent, foreign_keys, unique: Vec::new(), primary: Vec::new() })
    }

    /// Makes them what they were.
    pub fn back(self) -> Result<(), Report> {
        set_kind(self.parent, &self.foreign_keys, "f")?;
        set_flags(&self.unique, "indisunique = true")?;
        set_flags(&self.primary, "indisprimary = true")
    }
}

fn indexes_where(parent: pg_sys::Oid, flag: &str) -> Result<Vec<pg_sys::Oid>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        &format!(
            "SELECT pg_catalog.array_agg(indexrelid) FROM pg_catalog.pg_index
             WHERE indrelid OPERATOR(pg_catalog.=) $1 AND {flag}"
        ),
        &[parent.into()],
    )?;
    Ok(found.unwrap_or_default())
}

fn set_flags(indexes: &[pg_sys::Oid], flags: &str) -> Result<(), Report> {
    if indexes.is_empty() {
        return Ok(());
    }
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run_with_args(
        &format!(
            "UPDATE pg_catalog.pg_index SET {flags}
             WHERE indexrelid OPERATOR(pg_catalog.=) ANY ($1)"
        ),
        &[indexes.to_vec().into()],
    )?)
}

/// Those from and to the parent.
fn foreign_keys_of(parent: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        "SELECT pg_catalog.array_agg(oid) FROM pg_catalog.pg_constraint
         WHERE contype OPERATOR(pg_catalog.=) 'f'
           AND (conrelid OPERATOR(pg_catalog.=) $1 OR confrelid OPERATOR(pg_catalog.=) $1)",
        &[parent.into()],
    )?;
    Ok(found.unwrap_or_default())
}

fn set_kind(parent: pg_sys::Oid, constraints: &[pg_sys::Oid], kind: &str) -> Result<(), Report> {
    if constraints.is_empty() {
        return Ok(());
    }
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::run_with_args(
        "UPDATE pg_catalog.pg_constraint SET contype = $2::pg_catalog.\"char\"
         WHERE oid OPERATOR(pg_catalog.=) ANY ($1)",
        &[constraints.to_vec().into(), kind.into()],
    )?;
    // A row that was no foreign key before invalidates nothing by itself.
    // SAFETY: the parent exists and is locked by the caller.
    unsafe {
        pg_sys::CacheInvalidateRelcacheByRelid(parent);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}
