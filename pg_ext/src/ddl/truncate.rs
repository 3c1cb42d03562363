//! `TRUNCATE … CASCADE` of sharded tables.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::fences::relation_of;
use super::foreign_keys::referencing_tables;
use super::step::Step;
use crate::catalog::registry;
use crate::lists::{elements, text};
use crate::report::Report;

/// Adds the referencing sharded tables to the list. PostgreSQL would find their
/// constraints by itself, but then empty the leaves of this node only.
///
/// # Safety
/// `pstmt` is a valid TRUNCATE.
pub unsafe fn before(pstmt: *mut pg_sys::PlannedStmt) -> Result<Step, Report> {
    // SAFETY: the caller's; a list of RangeVar.
    unsafe {
        let statement: *mut pg_sys::TruncateStmt = (*pstmt).utilityStmt.cast();
        if (*statement).behavior != pg_sys::DropBehavior::DROP_CASCADE {
            return Ok(Step::Pass);
        }
        let registry = registry()?;
        let named: Vec<_> = elements::<pg_sys::RangeVar>((*statement).relations)
            .filter_map(|range| relation_of(range))
            .collect();
        if !named.iter().any(|rel| registry.managed_id(*rel).is_some()) {
            return Ok(Step::Pass);
        }
        let more = referencing_tables(&named)?;
        if more.is_empty() {
            return Ok(Step::Pass);
        }
        let copy: *mut pg_sys::PlannedStmt = pg_sys::copyObjectImpl(pstmt.cast()).cast();
        let statement: *mut pg_sys::TruncateStmt = (*copy).utilityStmt.cast();
        for rel in more {
            let name = pg_sys::get_rel_name(rel);
            let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(rel));
            pgrx::notice!("truncate cascades to table \"{}\"", text(name));
            let range = pg_sys::makeRangeVar(schema, name, -1);
            (*statement).relations = pg_sys::lappend((*statement).relations, range.cast());
        }
        Ok(Step::Run { statement: copy, finish: None })
    }
}
