//! UPDATE and DELETE of one row, found by its ctid.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::CmdType;

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
        let state = ModifyState::create(Shape {
            operation,
            private: ModifyPrivate::from_list(private),
            relation: (*info).ri_RelationDesc,
            rte: pg_sys::list_nth((*estate).es_range_table, (*info).ri_RangeTableIndex as i32 - 1)
                .cast(),
            ctid,
            context: (*estate).es_query_cxt,
            is_buffered: false,
        })?;
        (*info).ri_FdwState = state.cast();
    }
    Ok(())
}

/// Null if the row is no longer there.
///
/// # Safety
/// The executor's pointers.
pub unsafe fn one(
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    plan_slot: *mut pg_sys::TupleTableSlot,
) -> Result<*mut pg_sys::TupleTableSlot, Error> {
    // SAFETY: per the contract.
    unsafe {
        let state = ModifyState::of(info).ok_or_else(|| {
            Error::from(Refusal::internal("a foreign modification was not begun"))
        })?;
        state.compose(slot, plan_slot)?;
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
