//! Columns of a relation as values.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::strings::name_of;

/// One attribute of a tuple descriptor.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// From 1.
    pub number: i16,
    /// Local name.
    pub name: Vec<u8>,
    /// Type.
    pub type_oid: pg_sys::Oid,
    /// Type modifier, -1 for none.
    pub typmod: i32,
    /// GENERATED … STORED.
    pub is_generated: bool,
}

/// The attributes that are not dropped, in order.
///
/// # Safety
/// `descriptor` is a valid tuple descriptor.
pub unsafe fn attributes(descriptor: pg_sys::TupleDesc) -> Vec<Attribute> {
    // SAFETY: natts entries follow the header, per the contract.
    unsafe {
        let natts = (*descriptor).natts as usize;
        (*descriptor)
            .attrs
            .as_slice(natts)
            .iter()
            .filter(|a| !a.attisdropped)
            .map(|a| Attribute {
                number: a.attnum,
                name: name_of(&a.attname),
                type_oid: a.atttypid,
                typmod: a.atttypmod,
                is_generated: a.attgenerated != 0,
            })
            .collect()
    }
}
