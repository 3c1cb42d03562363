//! INSERT: by ModifyTable, by tuple routing, and by COPY.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::CmdType;
use pgrx::pg_sys::OnConflictAction::{ONCONFLICT_NONE, ONCONFLICT_NOTHING};

use super::columns::looked_at;
use super::conflict::{self, Conflict};
use super::private::ModifyPrivate;
use super::state::{Collector, ModifyState, Shape};
use crate::backend::{attributes, name_of};
use crate::error::{Error, Refusal};
use crate::placement::Placement;

/// BeginForeignInsert: a row will be routed here, or COPY begins.
///
/// # Safety
/// The executor's pointers.
pub unsafe fn begin(
    node: *mut pg_sys::ModifyTableState,
    info: *mut pg_sys::ResultRelInfo,
) -> Result<(), Error> {
    // SAFETY: per the contract; guarded calls.
    unsafe {
        let plan: *mut pg_sys::ModifyTable = (*node).ps.plan.cast();
        let estate = (*node).ps.state;
        let is_update = !plan.is_null() && (*plan).operation == CmdType::CMD_UPDATE;
        if is_update && (*info).ri_usesFdwDirectModify {
            return Err(Refusal::not_supported(
                "cannot move a row to a partition on another node that the same UPDATE changes",
            )
            .with_detail("The moved row could be found and changed a second time.")
            .with_hint("Delete the row with RETURNING and insert it: WITH moved AS (DELETE … RETURNING …) INSERT INTO … SELECT … FROM moved.")
            .into());
        }
        let root = if (*info).ri_RootResultRelInfo.is_null() {
            info
        } else {
            (*info).ri_RootResultRelInfo
        };
        let on_conflict = match plan.as_ref() {
            Some(plan) => (plan.onConflictAction, plan.arbiterIndexes.is_null()),
            None => (ONCONFLICT_NONE, true),
        };
        let relation = (*info).ri_RelationDesc;
        let all = attributes((*relation).rd_att);
        let triggers = (*info).ri_TrigDesc.as_ref();
        let after_row = triggers.is_some_and(|t| t.trig_insert_after_row);
        let before_row = triggers.is_some_and(|t| t.trig_insert_before_row);
        let looks = [(*info).ri_returningList, (*info).ri_WithCheckOptions];
        let mut varnos = vec![(*root).ri_RangeTableIndex, (*info).ri_RangeTableIndex];
        if !plan.is_null() && !(*node).resultRelInfo.is_null() {
            varnos.push((*(*node).resultRelInfo).ri_RangeTableIndex);
        }
        varnos.retain(|v| *v != 0);
        let returning = looked_at(&looks, &varnos, &all, after_row);
        let index = if (*info).ri_RangeTableIndex != 0 {
            (*info).ri_RangeTableIndex
        } else {
            (*root).ri_RangeTableIndex
        };
        let rte = if index == 0 {
            // COPY into a partitioned table made without a range table entry.
            null_mut()
        } else {
            pg_sys::list_nth((*estate).es_range_table, index as i32 - 1)
        };
        let zero: pg_sys::RangeTblEntry = std::mem::zeroed();
        // A statement trigger of COPY runs before EndForeignInsert. A BEFORE
        // trigger of the parent runs with its leaf, and may leave rows out.
        let root_triggers = (*root).ri_TrigDesc.as_ref();
        let is_plain_copy = plan.is_null()
            && !after_row
            && !before_row
            && (*info).ri_WithCheckOptions.is_null()
            && (*node).mt_transition_capture.is_null()
            && !root_triggers
                .is_some_and(|t| t.trig_insert_after_statement || t.trig_insert_before_row);
        let has_triggers = !(*info).ri_TrigDesc.is_null() || !(*root).ri_TrigDesc.is_null();
        let is_plain = !plan.is_null() && !has_triggers && (*info).ri_WithCheckOptions.is_null();
        let is_sole_row = is_plain && inserts_one_row(plan);
        // On a user's own server a trigger may leave rows out. With a CTE that
        // writes, the executor may end long after the count was told.
        let statement = (*estate).es_plannedstmt;
        let is_plain_insert = is_plain
            && !is_sole_row
            && (*plan).operation == CmdType::CMD_INSERT
            && on_conflict.0 == ONCONFLICT_NONE
            && !(*statement).hasReturning
            && !(*statement).hasModifyingCTE;
        let table = || name_of(&(*(*(*root).ri_RelationDesc).rd_rel).relname);
        let buffered_for = (is_plain_copy || is_plain_insert)
            .then(|| Collector { estate, copied_table: is_plain_copy.then(table) });
        let conflict = match on_conflict {
            (ONCONFLICT_NONE, _) => Conflict::nothing(false),
            (ONCONFLICT_NOTHING, true) => Conflict::nothing(true),
            _ => {
                let there = Placement::of((*relation).rd_id)?;
                conflict::begin(node, info, root, there, inserts_one_row(plan))?
            }
        };
        let state = ModifyState::create(Shape {
            operation: CmdType::CMD_INSERT,
            conflict,
            estate,
            node: null_mut(),
            private: ModifyPrivate {
                targets: all.iter().map(|a| i32::from(a.number)).collect(),
                returning,
                does_nothing_on_conflict: false,
            },
            relation,
            rte: if rte.is_null() { &raw const zero } else { rte.cast() },
            ctid: None,
            context: (*estate).es_query_cxt,
            buffered_for,
        })?;
        if is_sole_row {
            (*state).sole_row_of = estate;
        }
        match ModifyState::of(info) {
            // The same UPDATE changes rows here.
            Some(updating) if is_update => updating.incoming = state,
            _ => (*info).ri_FdwState = state.cast(),
        }
    }
    Ok(())
}

/// Whether the plan is `INSERT … VALUES` of one row without anything volatile:
/// what a function has done here besides could still fail.
unsafe fn inserts_one_row(plan: *mut pg_sys::ModifyTable) -> bool {
    // SAFETY: null or a valid plan; guarded walk.
    unsafe {
        if plan.is_null() || (*plan).operation != CmdType::CMD_INSERT {
            return false;
        }
        let source = (*plan).plan.lefttree;
        (*source).type_ == pg_sys::NodeTag::T_Result
            && (*source).lefttree.is_null()
            && !pg_sys::contain_volatile_functions((*source).targetlist.cast())
    }
}

/// One row. Null if the remote side left it out.
///
/// # Safety
/// The executor's pointers.
pub unsafe fn one(
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
) -> Result<*mut pg_sys::TupleTableSlot, Error> {
    // SAFETY: per the contract.
    unsafe {
        let state = state(info)?;
        if state.buffer.is_some() {
            state.buffer_row(slot)?;
            return Ok(slot);
        }
        state.compose(slot, null_mut())?;
        let reply = state.execute(1)?;
        match &mut state.returning {
            Some(returning) => {
                let came = returning.store(&reply.rows, slot)?;
                Ok(if came { slot } else { null_mut() })
            }
            None => Ok(if reply.affected() > 0 { slot } else { null_mut() }),
        }
    }
}

/// Several rows without RETURNING; the number that were inserted.
///
/// # Safety
/// The executor's pointers; `slots` has `count` entries.
pub unsafe fn batch(
    info: *mut pg_sys::ResultRelInfo,
    slots: *mut *mut pg_sys::TupleTableSlot,
    count: usize,
) -> Result<u64, Error> {
    // SAFETY: per the contract.
    unsafe {
        let state = state(info)?;
        for i in 0..count {
            state.compose(*slots.add(i), null_mut())?;
        }
        Ok(state.execute(count)?.affected())
    }
}

/// How many rows the executor may hand over at once.
///
/// # Safety
/// The executor's pointers.
pub unsafe fn batch_size(info: *mut pg_sys::ResultRelInfo) -> usize {
    // SAFETY: per the contract.
    unsafe {
        let triggers = (*info).ri_TrigDesc.as_ref();
        let per_row = !(*info).ri_projectReturning.is_null()
            || !(*info).ri_WithCheckOptions.is_null()
            || triggers.is_some_and(|t| t.trig_insert_before_row || t.trig_insert_after_row);
        if per_row {
            return 1;
        }
        match ModifyState::of(info) {
            // Collected here, without the executor's copies.
            Some(state) if state.returning.is_some() || state.buffer.is_some() => 1,
            Some(state) => state.batch_size,
            None => super::state::batch_size((*(*info).ri_RelationDesc).rd_id, 1),
        }
    }
}

unsafe fn state<'a>(info: *mut pg_sys::ResultRelInfo) -> Result<&'a mut ModifyState, Error> {
    let missing = || Refusal::internal("a foreign insert was not begun");
    // SAFETY: the executor's pointer; `begin` set the other, which lives as long.
    unsafe {
        let state = ModifyState::of(info).ok_or_else(missing)?;
        match state.incoming.as_mut() {
            Some(incoming) => Ok(incoming),
            None => Ok(state),
        }
    }
}
