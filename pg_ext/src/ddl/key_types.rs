//! Which types can be distributed by: every node must hash a value alike.
#![allow(unsafe_code)]

use pgrx::PgTupleDesc;
use pgrx::prelude::*;

use crate::lists::text;
use crate::report::Report;

/// Refuses a type that has no hash, or whose hash is that of an OID: OIDs of
/// the same thing differ between nodes. Looks inside containers.
pub fn check_key_type(column: &str, type_oid: pg_sys::Oid) -> Result<(), Report> {
    if let Some(culprit) = hashed_by_oid(type_oid) {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("column \"{column}\" cannot be a distribution column"),
        )
        .detail(format!(
            "Values of type {} are hashed by OID, and OIDs differ between nodes.",
            type_name(culprit)
        ))
        .hint("Distribute by a column of another type, such as text."));
    }
    // SAFETY: the type cache raises only for types that do not exist.
    let entry = unsafe {
        &*pg_sys::lookup_type_cache(type_oid, pg_sys::TYPECACHE_HASH_EXTENDED_PROC as i32)
    };
    if entry.hash_extended_proc == pg_sys::InvalidOid {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
            format!("column \"{column}\" cannot be a distribution column"),
        )
        .detail(format!("Type {} cannot be hashed.", type_name(type_oid)))
        .hint("Distribute by a column whose type has a hash operator class."));
    }
    Ok(())
}

/// The type itself or what it contains, if its hash depends on OIDs.
fn hashed_by_oid(type_oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    const REGISTRY_TYPES: [pg_sys::Oid; 11] = [
        pg_sys::REGPROCOID,
        pg_sys::REGPROCEDUREOID,
        pg_sys::REGOPEROID,
        pg_sys::REGOPERATOROID,
        pg_sys::REGCLASSOID,
        pg_sys::REGTYPEOID,
        pg_sys::REGCONFIGOID,
        pg_sys::REGDICTIONARYOID,
        pg_sys::REGROLEOID,
        pg_sys::REGNAMESPACEOID,
        pg_sys::REGCOLLATIONOID,
    ];
    // SAFETY: syscache look-ups on a type that exists.
    unsafe {
        let base = pg_sys::getBaseType(type_oid);
        if REGISTRY_TYPES.contains(&base) || pg_sys::get_typtype(base) as u8 == b'e' {
            return Some(base);
        }
        let element = pg_sys::get_base_element_type(base);
        if element != pg_sys::InvalidOid && element != base {
            return hashed_by_oid(element);
        }
        match pg_sys::get_typtype(base) as u8 {
            b'r' => hashed_by_oid(pg_sys::get_range_subtype(base)),
            b'm' => hashed_by_oid(pg_sys::get_multirange_range(base)),
            b'c' => fields_hashed_by_oid(base),
            _ => None,
        }
    }
}

fn fields_hashed_by_oid(composite: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let descriptor = PgTupleDesc::for_composite_type_by_oid(composite)?;
    let mut fields = descriptor.iter().filter(|field| !field.is_dropped());
    fields.find_map(|field| hashed_by_oid(field.type_oid().value()))
}

fn type_name(type_oid: pg_sys::Oid) -> String {
    // SAFETY: returns a palloc'd string.
    unsafe { text(pg_sys::format_type_be(type_oid)) }
}
