//! UPDATE that takes a row from another server's partition: the row is deleted
//! there, and put by PostgreSQL's tuple routing where it belongs now.
//!
//! PostgreSQL moves rows of local partitions itself and leaves foreign ones to
//! their wrappers. A moved row is not found a second time: no scan of the
//! statement sees what the statement has written (scans are bound when it
//! begins).
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::state::ModifyState;
use crate::error::{Error, Refusal};

/// The server's functions, unguarded: an error of the insert keeps all fields.
mod raw {
    use pgrx::pg_sys::{
        AttrMap, EState, PartitionTupleRouting, Relation, ResultRelInfo, TupleConversionMap,
        TupleTableSlot,
    };

    unsafe extern "C-unwind" {
        pub fn ExecSetupPartitionTupleRouting(
            estate: *mut EState,
            root: Relation,
        ) -> *mut PartitionTupleRouting;
        pub fn table_slot_create(
            relation: Relation,
            list: *mut *mut pgrx::pg_sys::List,
        ) -> *mut TupleTableSlot;
        pub fn ExecGetChildToRootMap(info: *mut ResultRelInfo) -> *mut TupleConversionMap;
        pub fn execute_attr_map_slot(
            map: *mut AttrMap,
            from: *mut TupleTableSlot,
            to: *mut TupleTableSlot,
        ) -> *mut TupleTableSlot;
        pub fn ExecFindPartition(
            node: *mut pgrx::pg_sys::ModifyTableState,
            root: *mut ResultRelInfo,
            routing: *mut PartitionTupleRouting,
            slot: *mut TupleTableSlot,
            estate: *mut EState,
        ) -> *mut ResultRelInfo;
        pub fn ExecOpenIndices(info: *mut ResultRelInfo, speculative: bool);
        pub fn ExecSimpleRelationInsert(
            info: *mut ResultRelInfo,
            estate: *mut EState,
            slot: *mut TupleTableSlot,
        );
    }
}

/// Whether the new row belongs to another partition than the old one. Only of
/// a partition that is updated through a parent: otherwise the row is refused
/// over there. Refused here if that would leave out a trigger.
///
/// # Safety
/// The executor's pointers; `slot` holds the whole new row.
pub unsafe fn belongs_elsewhere(
    state: &ModifyState,
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
) -> Result<bool, Error> {
    let node = state.node;
    // SAFETY: per the contract; guarded calls.
    unsafe {
        if state.operation != pg_sys::CmdType::CMD_UPDATE
            || node.is_null()
            || (*node).rootResultRelInfo == info
            || !(*(*(*info).ri_RelationDesc).rd_rel).relispartition
            || has_row_triggers((*info).ri_TrigDesc)
            || pg_sys::ExecPartitionCheck(info, slot, (*node).ps.state, false)
        {
            return Ok(false);
        }
        // It is declared there and would run, first of all, on that node.
        let of_parent = (*(*node).rootResultRelInfo).ri_TrigDesc;
        if of_parent.as_ref().is_some_and(|t| t.trig_update_before_row) {
            return Err(Refusal::not_supported(
                "cannot move a row off another node: its table has BEFORE UPDATE triggers",
            )
            .with_detail("The triggers run where the row is, and only if the row stays there.")
            .with_hint("Delete the row with RETURNING and insert it: WITH moved AS (DELETE … RETURNING …) INSERT INTO … SELECT … FROM moved.")
            .into());
        }
        Ok(true)
    }
}

/// Triggers for UPDATE that the executor runs around our call: that the row was
/// deleted and inserted instead, it would not know.
unsafe fn has_row_triggers(triggers: *const pg_sys::TriggerDesc) -> bool {
    // SAFETY: null or valid.
    unsafe {
        triggers.as_ref().is_some_and(|t| t.trig_update_before_row || t.trig_update_after_row)
    }
}

/// The executor's node of the UPDATE that `info` belongs to.
///
/// # Safety
/// The executor's pointer, of a modification that was begun.
pub unsafe fn node_of(
    info: *mut pg_sys::ResultRelInfo,
) -> Result<*mut pg_sys::ModifyTableState, Error> {
    // SAFETY: per the contract.
    unsafe { ModifyState::of(info) }
        .map(|state| state.node)
        .ok_or_else(|| Refusal::internal("a foreign modification was not begun").into())
}

/// Inserts a row that was deleted from the partition `info`. False if where it
/// belongs it was left out. A plain-old frame.
///
/// # Safety
/// The executor's pointers; `node` is the UPDATE's, `slot` holds the whole row.
pub unsafe fn insert(
    node: *mut pg_sys::ModifyTableState,
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: per the contract. What is made for routing lives and ends as if
    // the executor had made it.
    unsafe {
        let estate = (*node).ps.state;
        let root = (*node).rootResultRelInfo;
        let previous = pg_sys::CurrentMemoryContext;
        if (*node).mt_partition_tuple_routing.is_null() {
            pg_sys::CurrentMemoryContext = (*estate).es_query_cxt;
            (*node).mt_partition_tuple_routing =
                raw::ExecSetupPartitionTupleRouting(estate, (*root).ri_RelationDesc);
            (*node).mt_root_tuple_slot =
                raw::table_slot_create((*root).ri_RelationDesc, std::ptr::null_mut());
            pg_sys::CurrentMemoryContext = previous;
        }
        let to_root = raw::ExecGetChildToRootMap(info);
        let row = if to_root.is_null() {
            slot
        } else {
            raw::execute_attr_map_slot((*to_root).attrMap, slot, (*node).mt_root_tuple_slot)
        };
        let routing = (*node).mt_partition_tuple_routing;
        let home = raw::ExecFindPartition(node, root, routing, row, estate);
        let to_home = (*home).ri_RootToPartitionMap;
        let row = if to_home.is_null() {
            row
        } else {
            raw::execute_attr_map_slot((*to_home).attrMap, row, (*home).ri_PartitionTupleSlot)
        };
        (*row).tts_tableOid = (*(*home).ri_RelationDesc).rd_id;
        match (*home).ri_FdwRoutine.as_ref().map(|routine| routine.ExecForeignInsert) {
            Some(Some(foreign_insert)) => {
                !foreign_insert(estate, home, row, std::ptr::null_mut()).is_null()
            }
            // BeginForeignInsert of such a wrapper has refused.
            Some(None) => false,
            None => {
                let relation = (*home).ri_RelationDesc;
                if (*(*relation).rd_rel).relhasindex && (*home).ri_IndexRelationDescs.is_null() {
                    raw::ExecOpenIndices(home, false);
                }
                raw::ExecSimpleRelationInsert(home, estate, row);
                true
            }
        }
    }
}
