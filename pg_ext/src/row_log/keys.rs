//! What makes rows of a table unique, as hashes that are the same on every node.
//!
//! Two transactions that write the same row, or rows that could not both be
//! there, write a common key. What is equal hashes alike, whatever it looks like;
//! that others may hash alike, too, costs a retry.
#![allow(unsafe_code)]

use cluster::TableId;
use pgrx::prelude::*;

use crate::lists::text;
use crate::report::Report;

/// Unique keys of a table.
pub struct Keys {
    indexes: Vec<Unique>,
    /// Some key cannot be told from the values of columns: every two changes of
    /// the table are taken to have it in common.
    shared: Option<u64>,
}

struct Unique {
    /// Of table and index.
    seed: u64,
    columns: Vec<Column>,
    nulls_are_equal: bool,
}

struct Column {
    /// In the row, from 0 on.
    at: usize,
    hash: pg_sys::Oid,
    collation: pg_sys::Oid,
}

impl Keys {
    /// Of an open relation.
    ///
    /// # Safety
    /// It is open and locked.
    pub unsafe fn of(relation: pg_sys::Relation, table: TableId) -> Result<Keys, Report> {
        // SAFETY: the caller's; indexes are opened, read and closed.
        unsafe {
            let mut keys = Keys { indexes: Vec::new(), shared: None };
            let list = pg_sys::RelationGetIndexList(relation);
            let count = list.as_ref().map_or(0, |list| list.length);
            for at in 0..count {
                let oid = pg_sys::list_nth_oid(list, at);
                let index = pg_sys::index_open(oid, pg_sys::AccessShareLock as i32);
                let form = (*index).rd_index;
                if (*form).indisunique || (*form).indisexclusion {
                    let name = text((*(*index).rd_rel).relname.data.as_ptr());
                    match columns(relation, index) {
                        Some(columns) => keys.indexes.push(Unique {
                            seed: seed(table, &name),
                            columns,
                            nulls_are_equal: (*form).indnullsnotdistinct,
                        }),
                        None => keys.shared = Some(seed(table, "")),
                    }
                }
                pg_sys::index_close(index, pg_sys::AccessShareLock as i32);
            }
            pg_sys::list_free(list);
            Ok(keys)
        }
    }

    /// Enters the keys of a row.
    ///
    /// # Safety
    /// A slot with a row of the relation.
    pub unsafe fn note(&self, slot: *mut pg_sys::TupleTableSlot, keys: &mut Vec<u64>) {
        // SAFETY: the caller's; deforming is guarded, and its arrays have an entry
        // for each attribute.
        unsafe {
            let natts = (*(*slot).tts_tupleDescriptor).natts;
            if i32::from((*slot).tts_nvalid) < natts {
                pg_sys::slot_getsomeattrs_int(slot, natts);
            }
            let values = std::slice::from_raw_parts((*slot).tts_values, natts as usize);
            let nulls = std::slice::from_raw_parts((*slot).tts_isnull, natts as usize);
            for index in &self.indexes {
                let has_null = index.columns.iter().any(|column| nulls[column.at]);
                if has_null && !index.nulls_are_equal {
                    continue;
                }
                let mut hash = index.seed;
                for column in &index.columns {
                    hash = match nulls[column.at] {
                        true => hash.rotate_left(7),
                        false => pg_sys::OidFunctionCall2Coll(
                            column.hash,
                            column.collation,
                            values[column.at],
                            pg_sys::Datum::from(hash),
                        )
                        .value() as u64,
                    };
                }
                keys.push(hash);
            }
            keys.extend(self.shared);
        }
    }
}

/// The columns of a unique index; none if it has expressions, holds part of the
/// rows, or compares in a way of its own.
unsafe fn columns(relation: pg_sys::Relation, index: pg_sys::Relation) -> Option<Vec<Column>> {
    // SAFETY: both are open; arrays have an entry for each key column.
    unsafe {
        let form = (*index).rd_index;
        let is_partial = !pg_sys::RelationGetIndexPredicate(index).is_null();
        if (*form).indisexclusion || is_partial {
            return None;
        }
        let count = (*form).indnkeyatts as usize;
        let numbers = (*form).indkey.values.as_slice(count);
        let families = std::slice::from_raw_parts((*index).rd_opfamily, count);
        let collations = std::slice::from_raw_parts((*index).rd_indcollation, count);
        let natts = (*(*relation).rd_att).natts as usize;
        let attributes = (*(*relation).rd_att).attrs.as_slice(natts);
        let mut columns = Vec::with_capacity(count);
        for at in 0..count {
            let place = usize::try_from(numbers[at] - 1).ok()?;
            let type_oid = attributes.get(place)?.atttypid;
            let wanted = pg_sys::TYPECACHE_HASH_EXTENDED_PROC | pg_sys::TYPECACHE_EQ_OPR;
            let known = pg_sys::lookup_type_cache(type_oid, wanted as i32);
            let hash = (*known).hash_extended_proc;
            let family = families[at];
            let input = pg_sys::get_opfamily_member(
                family,
                (*known).btree_opintype,
                (*known).btree_opintype,
                pg_sys::BTEqualStrategyNumber as i16,
            );
            if hash == pg_sys::InvalidOid || input != (*known).eq_opr {
                return None;
            }
            columns.push(Column { at: place, hash, collation: collations[at] });
        }
        Some(columns)
    }
}

/// FNV-1a over what names the index on every node.
fn seed(table: TableId, index: &str) -> u64 {
    let bytes = table.0.to_be_bytes().into_iter().chain(index.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
