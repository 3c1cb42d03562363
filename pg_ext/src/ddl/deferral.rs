//! `SET CONSTRAINTS`: the constraints that can be deferred are those of leaves,
//! on all nodes.
#![allow(unsafe_code)]

use cluster::sharding::{NodeCommand, quote_identifier};
use pgrx::prelude::*;

use super::step::{Finish, Step};
use crate::catalog::{ActingAs, is_installed};
use crate::lists::elements;
use crate::peers;
use crate::report::Report;
use crate::{lists, membership};

/// What PostgreSQL is about to do here, for leaves here and elsewhere.
pub struct Deferral {
    /// `None` for ALL.
    names: Option<Vec<String>>,
    is_deferred: bool,
}

/// Looks at a SET CONSTRAINTS.
///
/// # Safety
/// `pstmt` is a valid ConstraintsSetStmt.
pub unsafe fn before(pstmt: *mut pg_sys::PlannedStmt) -> Result<Step, Report> {
    if !is_installed() || membership::my_identity().is_err() || !has_deferrable()? {
        return Ok(Step::Pass);
    }
    // SAFETY: the caller's; a list of RangeVar.
    let deferral = unsafe {
        let statement: *mut pg_sys::ConstraintsSetStmt = (*pstmt).utilityStmt.cast();
        let names = elements::<pg_sys::RangeVar>((*statement).constraints)
            .map(|range| lists::text((*range).relname));
        Deferral {
            names: (!(*statement).constraints.is_null()).then(|| names.collect()),
            is_deferred: (*statement).deferred,
        }
    };
    Ok(Step::Run { statement: std::ptr::null_mut(), finish: Some(Finish::Deferral(deferral)) })
}

impl Deferral {
    /// PostgreSQL has found the names among the parents' constraints; now the
    /// leaves'.
    pub fn finish(&self) -> Result<(), Report> {
        let _own_work = super::OwnWork::begin();
        self.names.as_ref().map_or(Ok(()), |names| set_leaves(names, self.is_deferred))?;
        let command = NodeCommand::SetConstraints {
            names: self.names.clone(),
            is_deferred: self.is_deferred,
        };
        peers::tell_all(&command)
    }
}

/// The same on a node that is told so.
pub fn apply(names: Option<&[String]>, is_deferred: bool) -> Result<(), Report> {
    let _own_work = super::OwnWork::begin();
    match names {
        Some(names) => set_leaves(names, is_deferred),
        None => Ok(Spi::run(&format!("SET CONSTRAINTS ALL {}", mode(is_deferred)))?),
    }
}

/// Sets those constraints of real leaves that have the names.
fn set_leaves(names: &[String], is_deferred: bool) -> Result<(), Report> {
    let present = {
        let _acting = ActingAs::owner_of_the_catalogs();
        Spi::get_one_with_args::<Vec<String>>(
            "SELECT pg_catalog.array_agg(DISTINCT conname::pg_catalog.text) FROM pg_catalog.pg_constraint
             WHERE connamespace OPERATOR(pg_catalog.=) 'shardman_data'::pg_catalog.regnamespace
               AND condeferrable AND conname::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($1)",
            &[names.to_vec().into()],
        )?
    };
    let qualified: Vec<_> = present
        .unwrap_or_default()
        .iter()
        .map(|name| format!("shardman_data.{}", quote_identifier(name)))
        .collect();
    if qualified.is_empty() {
        return Ok(());
    }
    let list = qualified.join(", ");
    Ok(Spi::run(&format!("SET CONSTRAINTS {list} {}", mode(is_deferred)))?)
}

fn mode(is_deferred: bool) -> &'static str {
    if is_deferred { "DEFERRED" } else { "IMMEDIATE" }
}

/// Whether a leaf has a foreign key that can be deferred.
fn has_deferrable() -> Result<bool, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one::<bool>(
        "SELECT EXISTS (
             SELECT FROM pg_catalog.pg_constraint AS k
                  JOIN shardman.sharded_table AS t ON t.rel OPERATOR(pg_catalog.=) k.conrelid
             WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.condeferrable)",
    )?;
    Ok(found.unwrap_or_default())
}
