//! CREATE on the schemas of leaves, for the length of a statement.
#![allow(unsafe_code)]

use cluster::sharding::quote_identifier;
use pgrx::prelude::*;

use super::OwnWork;
use crate::catalog::ActingAs;
use crate::lists::text;
use crate::report::Report;

/// CREATE on the schemas of leaves, which nobody has, for the current user and
/// within this transaction: granted and revoked again before anyone sees it.
#[must_use]
pub struct SchemaRights {
    user: Option<String>,
}

impl SchemaRights {
    /// Grants them, unless the user needs no grant.
    pub fn borrow() -> Result<Self, Report> {
        // SAFETY: reads backend state and the syscache.
        let user = unsafe {
            let user = pg_sys::GetUserId();
            (!pg_sys::superuser_arg(user)).then(|| text(pg_sys::GetUserNameFromId(user, false)))
        };
        let rights = SchemaRights { user };
        rights.run("GRANT", "TO")?;
        Ok(rights)
    }

    /// Revokes what was granted.
    pub fn give_back(&self) -> Result<(), Report> {
        self.run("REVOKE", "FROM")
    }

    fn run(&self, verb: &str, preposition: &str) -> Result<(), Report> {
        let Some(user) = &self.user else { return Ok(()) };
        let _own_work = OwnWork::begin();
        let _acting = ActingAs::owner_of_the_catalogs();
        let user = quote_identifier(user);
        Ok(Spi::run(&format!(
            "{verb} CREATE ON SCHEMA shardman_data, shardman_remote {preposition} {user}"
        ))?)
    }
}
