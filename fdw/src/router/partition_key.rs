//! What a sharded table is partitioned by.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use crate::error::Refusal;

/// Columns of pg_partitioned_table, the same in 15 to 18.
const STRATEGY: i16 = 2;
const ATTRIBUTES: i16 = 5;
const CLASSES: i16 = 6;
const COLLATIONS: i16 = 7;

/// Support function 2 of hash operator families: 64 bits, with a seed.
const EXTENDED_HASH: i16 = 2;

/// One column of a hash partition key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Attribute number.
    pub attribute: i16,
    /// Hash operator family.
    pub family: pg_sys::Oid,
    /// What the operator class takes.
    pub input_type: pg_sys::Oid,
    /// Invalid for types without collation.
    pub collation: pg_sys::Oid,
}

impl KeyColumn {
    /// The function that PostgreSQL hashes a value of `value_type` with when it
    /// prunes partitions; `None` if the family has none.
    pub fn hash_function(&self, value_type: pg_sys::Oid) -> Option<pg_sys::Oid> {
        // SAFETY: a guarded syscache look-up.
        let function = unsafe {
            pg_sys::get_opfamily_proc(self.family, value_type, value_type, EXTENDED_HASH)
        };
        (function != pg_sys::InvalidOid).then_some(function)
    }
}

/// The hash partition key of a table, in order; a refusal for any other.
pub fn hash_key(relid: pg_sys::Oid) -> Result<Vec<KeyColumn>, Refusal> {
    let not_by_hash = || Refusal::not_supported("the table is not partitioned by hash of columns");
    // SAFETY: guarded look-ups; vectors are read before the tuple is released;
    // none of the four columns is ever null.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::PARTRELID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(relid));
        if tuple.is_null() {
            return Err(not_by_hash());
        }
        let column = |number| {
            let mut is_null = false;
            pg_sys::SysCacheGetAttr(cache, tuple, number, &raw mut is_null)
        };
        let is_hash = column(STRATEGY).value() as u8 == b'h';
        let attributes: *const pg_sys::int2vector = column(ATTRIBUTES).cast_mut_ptr();
        let classes: *const pg_sys::oidvector = column(CLASSES).cast_mut_ptr();
        let collations: *const pg_sys::oidvector = column(COLLATIONS).cast_mut_ptr();
        let length = (*attributes).dim1 as usize;
        let key: Vec<KeyColumn> = (0..length)
            .map(|i| {
                let class = *(*classes).values.as_slice(length).get_unchecked(i);
                KeyColumn {
                    attribute: *(*attributes).values.as_slice(length).get_unchecked(i),
                    family: pg_sys::get_opclass_family(class),
                    input_type: pg_sys::get_opclass_input_type(class),
                    collation: *(*collations).values.as_slice(length).get_unchecked(i),
                }
            })
            .collect();
        pg_sys::ReleaseSysCache(tuple);
        // Number 0 stands for an expression.
        if !is_hash || key.iter().any(|column| column.attribute <= 0) {
            return Err(not_by_hash());
        }
        Ok(key)
    }
}
