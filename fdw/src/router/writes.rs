//! What a statement may do to the rows of its target.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, NodeTag};

use super::decision::refuse;
use super::merge::actions;
use super::partition_key::{KeyColumn, hash_key};
use super::routed::Table;
use crate::backend::cells;
use crate::error::Error;

/// Rows must not leave their partition, and conflicts must mean the same at the leaf.
///
/// # Safety
/// `query` is valid, `tables` are its own.
pub unsafe fn check_writes(
    query: *const pg_sys::Query,
    tables: &[Table],
    columns: &[KeyColumn],
) -> Result<(), Error> {
    // SAFETY: a valid query; casts follow what the lists hold.
    unsafe {
        let target = (*query).resultRelation as u32;
        if target == 0 {
            return Ok(());
        }
        let Some(table) = tables.iter().find(|table| table.place == (0, target)) else {
            return refuse("it writes to a table that is not sharded");
        };
        let relid = table.relid;
        let columns = if tables[0].relid == relid { columns.to_vec() } else { hash_key(relid)? };
        let assigns_key = |list: *mut pg_sys::List| {
            cells::<pg_sys::TargetEntry>(list)
                .any(|entry| columns.iter().any(|column| column.attribute == (*entry).resno))
        };
        if (*query).commandType == CmdType::CMD_UPDATE && assigns_key((*query).targetList) {
            return refuse("it assigns to a distribution column");
        }
        // The rewriter has taken `SET generated = DEFAULT` away.
        if (*query).commandType == CmdType::CMD_UPDATE && (*query).targetList.is_null() {
            return refuse("it assigns to generated columns only");
        }
        for action in actions(query).filter(|a| (**a).commandType == CmdType::CMD_UPDATE) {
            if assigns_key((*action).targetList) {
                return refuse("it assigns to a distribution column");
            }
            if (*action).targetList.is_null() {
                return refuse("it assigns to generated columns only");
            }
        }
        if let Some(conflict) = (*query).onConflict.as_ref() {
            if conflict.constraint != pg_sys::InvalidOid {
                return refuse("it names a constraint, which each partition has its own of");
            }
            if assigns_key(conflict.onConflictSet) {
                return refuse("it assigns to a distribution column");
            }
            for element in cells::<pg_sys::InferenceElem>(conflict.arbiterElems) {
                let e = &*element;
                if e.infercollid != pg_sys::InvalidOid
                    || e.inferopclass != pg_sys::InvalidOid
                    || (*e.expr).type_ != NodeTag::T_Var
                {
                    return refuse("its conflict target is more than columns");
                }
            }
        }
        Ok(())
    }
}
