//! Attaching a foreign leaf without the parent's row triggers: a copy on it would
//! fire on the coordinator as well as where the row is.

use pgrx::prelude::*;

use crate::catalog::ActingAs;
use crate::report::Report;

/// The row triggers of a parent, statement triggers until [`RowTriggers::back`].
/// No other session sees them so: the parent is locked.
#[must_use]
pub struct RowTriggers {
    parent: pg_sys::Oid,
    triggers: Vec<pg_sys::Oid>,
}

impl RowTriggers {
    /// Makes PostgreSQL leave them out. The caller holds a lock on the parent that
    /// keeps others from using it.
    pub fn hide(parent: pg_sys::Oid) -> Result<Self, Report> {
        let _acting = ActingAs::owner_of_the_catalogs();
        let triggers = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
            "SELECT pg_catalog.array_agg(oid) FROM pg_catalog.pg_trigger
             WHERE tgrelid OPERATOR(pg_catalog.=) $1 AND NOT tgisinternal
               AND (tgtype OPERATOR(pg_catalog.&) 1::pg_catalog.int2) OPERATOR(pg_catalog.=) 1::pg_catalog.int2",
            &[parent.into()],
        )?;
        let hidden = RowTriggers { parent, triggers: triggers.unwrap_or_default() };
        hidden.set("tgtype OPERATOR(pg_catalog.-) 1::pg_catalog.int2")?;
        Ok(hidden)
    }

    /// Makes them what they were.
    pub fn back(self) -> Result<(), Report> {
        let _acting = ActingAs::owner_of_the_catalogs();
        self.set("tgtype OPERATOR(pg_catalog.+) 1::pg_catalog.int2")
    }

    #[allow(unsafe_code)]
    fn set(&self, value: &str) -> Result<(), Report> {
        if self.triggers.is_empty() {
            return Ok(());
        }
        Spi::run_with_args(
            &format!(
                "UPDATE pg_catalog.pg_trigger SET tgtype = {value}
                 WHERE oid OPERATOR(pg_catalog.=) ANY ($1)"
            ),
            &[self.triggers.clone().into()],
        )?;
        // SAFETY: the parent exists and is locked.
        unsafe {
            pg_sys::CacheInvalidateRelcacheByRelid(self.parent);
            pg_sys::CommandCounterIncrement();
        }
        Ok(())
    }
}
