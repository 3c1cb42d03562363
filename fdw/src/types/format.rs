//! Which types travel in binary.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// How a value is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The type's send and receive functions.
    Binary,
    /// The type's output and input functions.
    Text,
}

impl Format {
    /// The protocol's code.
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// True for objects whose OID is assigned by hand in PostgreSQL's sources: the
/// same on every server.
pub fn is_builtin(oid: pg_sys::Oid) -> bool {
    let oid = oid.to_u32();
    oid != 0 && oid < pg_sys::FirstGenbkiObjectId
}

/// The type under any domains, with its modifier.
pub fn base_type(type_oid: pg_sys::Oid, typmod: i32) -> (pg_sys::Oid, i32) {
    if is_common(type_oid) {
        return (type_oid, typmod);
    }
    let mut typmod = typmod;
    // SAFETY: guarded catalogue look-up.
    let base = unsafe { pg_sys::getBaseTypeAndTypmod(type_oid, &raw mut typmod) };
    (base, typmod)
}

/// How a base type travels. Text for types that a user made, for composites,
/// for types that name objects by OID, and for types without send or receive.
pub fn wire_format(base: pg_sys::Oid) -> Format {
    if is_common(base) || is_binary(base) { Format::Binary } else { Format::Text }
}

/// Base types of which all is known without a look at the catalogue: they
/// travel in binary. Asked about each column of each statement.
fn is_common(type_oid: pg_sys::Oid) -> bool {
    matches!(
        type_oid,
        pg_sys::BOOLOID
            | pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::FLOAT4OID
            | pg_sys::FLOAT8OID
            | pg_sys::NUMERICOID
            | pg_sys::TEXTOID
            | pg_sys::VARCHAROID
            | pg_sys::BPCHAROID
            | pg_sys::BYTEAOID
            | pg_sys::DATEOID
            | pg_sys::TIMESTAMPOID
            | pg_sys::TIMESTAMPTZOID
            | pg_sys::UUIDOID
            | pg_sys::JSONBOID
            | pg_sys::TIDOID
    )
}

fn is_binary(base: pg_sys::Oid) -> bool {
    if !is_builtin(base) || names_an_object(base) {
        return false;
    }
    // SAFETY: guarded catalogue look-ups; the form is read before its release.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::TYPEOID as i32,
            pg_sys::Datum::from(base),
        );
        if tuple.is_null() {
            return false;
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_type>();
        let has_functions =
            (*form).typsend != pg_sys::InvalidOid && (*form).typreceive != pg_sys::InvalidOid;
        let kind = (*form).typtype as u8;
        let element = (*form).typelem;
        let is_array = (*form).typcategory as u8 == b'A' && (*form).typlen == -1;
        pg_sys::ReleaseSysCache(tuple);
        has_functions
            && match kind {
                b'b' if is_array && element != pg_sys::InvalidOid => is_binary(element),
                b'b' => true,
                b'r' => is_binary(pg_sys::get_range_subtype(base)),
                b'm' => is_binary(pg_sys::get_multirange_range(base)),
                _ => false,
            }
    }
}

/// `reg*` values are OIDs, which differ between nodes; as text they are names.
fn names_an_object(base: pg_sys::Oid) -> bool {
    matches!(
        base,
        pg_sys::REGPROCOID
            | pg_sys::REGPROCEDUREOID
            | pg_sys::REGOPEROID
            | pg_sys::REGOPERATOROID
            | pg_sys::REGCLASSOID
            | pg_sys::REGTYPEOID
            | pg_sys::REGROLEOID
            | pg_sys::REGNAMESPACEOID
            | pg_sys::REGCOLLATIONOID
            | pg_sys::REGCONFIGOID
            | pg_sys::REGDICTIONARYOID
    )
}
