//! FLIP: attaching a foreign leaf to a parent that has unique indexes.
//!
//! PostgreSQL refuses it because it cannot know that the other side checks
//! uniqueness. We do know: the key contains the distribution columns, and the
//! owner of each leaf has the real index. So the parent's unique indexes are
//! plain ones for the length of the statement. The rows come back in the same
//! transaction; no other session ever sees them changed, and the changed index
//! entries invalidate themselves.

use pgrx::prelude::*;

use crate::catalog::ActingAs;
use crate::report::Report;

/// The unique indexes of a parent, made plain until [`Flip::back`].
#[must_use]
pub struct Flip {
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
        Ok(Flip { unique, primary })
    }

    /// Makes them what they were.
    pub fn back(self) -> Result<(), Report> {
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
