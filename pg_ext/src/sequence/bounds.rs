//! What a sequence counts through, from PostgreSQL's catalogue.
#![allow(unsafe_code)]

use cluster::metadata::SequenceBounds;
use pgrx::prelude::*;

use crate::catalog::ManagedSequence;
use crate::report::Report;

/// A row of pg_sequence, the same in 15 to 18.
#[repr(C)]
struct SequenceRow {
    rel: pg_sys::Oid,
    type_oid: pg_sys::Oid,
    start: i64,
    increment: i64,
    max: i64,
    min: i64,
    cache: i64,
    cycle: bool,
}

/// The bounds that are in force on this node.
pub fn bounds_of(sequence: &ManagedSequence) -> Result<SequenceBounds, Report> {
    // SAFETY: a syscache look-up; the row is read before it is given back.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::SEQRELID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(sequence.rel));
        if tuple.is_null() {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                format!("sequence with OID {} does not exist", sequence.rel.to_u32()),
            ));
        }
        let row: *const SequenceRow = pg_sys::GETSTRUCT(tuple).cast();
        let bounds = SequenceBounds {
            first: sequence.first,
            increment: (*row).increment,
            min: (*row).min,
            max: (*row).max,
            cycle: (*row).cycle,
        };
        pg_sys::ReleaseSysCache(tuple);
        Ok(bounds)
    }
}
