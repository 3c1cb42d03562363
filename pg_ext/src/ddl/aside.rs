//! Foreign leaves out of the way of a statement that PostgreSQL refuses over
//! them.

use cluster::ddl::ForeignLeaves;
use pgrx::prelude::*;

use super::OwnWork;
use super::hide::Hidden;
use super::leaves::make_foreign_leaves;
use super::schema_rights::SchemaRights;
use crate::catalog::{definition_of, registry};
use crate::report::Report;

/// The foreign leaves of a parent, set aside until [`Aside::put_back`].
#[must_use]
pub struct Aside {
    parent: pg_sys::Oid,
    hidden: Hidden,
    rights: SchemaRights,
    remakes: bool,
}

impl Aside {
    /// Sets them aside if `how` says so. Locks the parent ACCESS EXCLUSIVE.
    pub fn set(parent: pg_sys::Oid, how: ForeignLeaves) -> Result<Option<Self>, Report> {
        if how == ForeignLeaves::Reach {
            return Ok(None);
        }
        let hidden = Hidden::hide(parent)?;
        let rights = SchemaRights::borrow()?;
        Ok(Some(Aside { parent, hidden, rights, remakes: how == ForeignLeaves::Remake }))
    }

    /// Brings them back, with the parent's present columns if they are made
    /// anew.
    pub fn put_back(&self) -> Result<(), Report> {
        // Shown in any case: PostgreSQL looks for the parent of a leaf to drop.
        self.hidden.show()?;
        if self.remakes {
            let _own_work = OwnWork::begin();
            // Read while there are leaves: it says what they are called.
            let registry = registry()?;
            let definition = registry.table_of(self.parent).map(definition_of).transpose()?;
            self.hidden.drop_leaves()?;
            if let Some(definition) = definition {
                make_foreign_leaves(&definition, self.parent)?;
            }
        }
        self.rights.give_back()
    }
}
