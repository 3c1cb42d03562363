//! UPDATE and DELETE of one row, found by its ctid.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::CmdType;

use super::conflict::Conflict;
use super::moving::belongs_elsewhere;
use super::private::ModifyPrivate;
use super::state::{ModifyState, Shape};
use crate::error::{Error, Refusal};

/// BeginForeignModify, for INSERT too.
///
/// # Safety
/// The executor's pointers; `private` from PlanForeignModify.
pub unsafe fn begin(
    node: *mut pg_sys::ModifyTableState,
    info: *mut pg_sys::ResultRelInfo,
    private: *mut pg_sys::List,
) -> Result<(), Error> {
    // SAFETY: per the contract; guarded calls.
    unsafe {
        let estate = (*node).ps.state;
        let operation = (*node).operation;
        let ctid = if matches!(operation, CmdType::CMD_UPDATE | CmdType::CMD_DELETE) {
            let subplan = (*(*node).ps.lefttree).plan;
            let number =
                pg_sys::ExecFindJunkAttributeInTlist((*subplan).targetlist, c"ctid".as_ptr());
            if number == 0 {
                return Err(Refusal::internal("the plan has no ctid column").into());
            }
            Some(number)
        } else {
            None
        };
        let private = ModifyPrivate::from_list(private);
        let state = ModifyState::create(Shape {
            operation,
            node: if ctid.is_some() { node } else { null_mut() },
            conflict: Conflict::nothing(private.does_nothing_on_conflict),
            private,
            estate: null_mut(),
            relation: (*info).ri_RelationDesc,
            rte: pg_sys::list_nth((*estate).es_range_table, (*info).ri_RangeTableIndex as i32 - 1)
                .cast(),
            ctid,
            context: (*estate).es_query_cxt,
            buffered_for: None,
        })?;
        (*info).ri_FdwState = state.cast();
    }
    Ok(())
}

/// What came of a row.
#[derive(Clone, Copy)]
pub enum Done {
    /// As the executor wants it: null if the row is no longer there.
    Row(*mut pg_sys::TupleTableSlot),
    /// It was deleted there and is to be inserted where it belongs now.
    TakenAway,
}

/// One row.
///
/// # Safety
/// The executor's pointers.
pub unsafe fn one(
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    plan_slot: *mut pg_sys::TupleTableSlot,
) -> Result<Done, Error> {
    // SAFETY: per the contract.
    unsafe {
        let state = ModifyState::of(info).ok_or_else(|| {
            Error::from(Refusal::internal("a foreign modification was not begun"))
        })?;
        if belongs_elsewhere(state, info, slot)? {
            let was_there = state.take_away(plan_slot)?;
            return Ok(if was_there { Done::TakenAway } else { Done::Row(null_mut()) });
        }
        state.compose(slot, plan_slot)?;
        let reply = state.execute(1)?;
        let is_there = match &mut state.returning {
            Some(returning) => returning.store(&reply.rows, slot)?,
            None => reply.affected() > 0,
        };
        Ok(Done::Row(if is_there { slot } else { null_mut() }))
    }
}
