//! Planning of modifications.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::CmdType;

use super::columns::looked_at;
use super::private::ModifyPrivate;
use crate::backend::{attributes, cells};
use crate::compat;
use crate::error::{Error, Refusal, callback};
use crate::options;

/// A row is found again by its ctid over there. A plain-old frame.
pub unsafe extern "C-unwind" fn add_update_targets(
    root: *mut pg_sys::PlannerInfo,
    index: pg_sys::Index,
    _rte: *mut pg_sys::RangeTblEntry,
    _relation: pg_sys::Relation,
) {
    // SAFETY: called by the planner; no destructor here.
    unsafe {
        callback(|| {
            let ctid = pg_sys::SelfItemPointerAttributeNumber as i16;
            let variable =
                pg_sys::makeVar(index as i32, ctid, pg_sys::TIDOID, -1, pg_sys::InvalidOid, 0);
            pg_sys::add_row_identity_var(root, variable, index, c"ctid".as_ptr());
            Ok(())
        })
    }
}

/// Which commands the table takes. A plain-old frame.
pub unsafe extern "C-unwind" fn is_updatable(relation: pg_sys::Relation) -> i32 {
    // SAFETY: called with an open relation; no destructor here.
    unsafe {
        callback(|| {
            let (server, own) = options::table_options((*relation).rd_id);
            let options = own.or(options::server_options(server));
            let all = (1 << CmdType::CMD_INSERT)
                | (1 << CmdType::CMD_UPDATE)
                | (1 << CmdType::CMD_DELETE);
            Ok(if options.get_bool("updatable").unwrap_or(true) { all } else { 0 })
        })
    }
}

/// A plain-old frame.
pub unsafe extern "C-unwind" fn plan_modify(
    root: *mut pg_sys::PlannerInfo,
    plan: *mut pg_sys::ModifyTable,
    index: pg_sys::Index,
    subplan: i32,
) -> *mut pg_sys::List {
    // SAFETY: called by the planner; no destructor here.
    unsafe { callback(|| private(root, plan, index, subplan).map(|p| p.to_list())) }
}

unsafe fn private(
    root: *mut pg_sys::PlannerInfo,
    plan: *mut pg_sys::ModifyTable,
    index: pg_sys::Index,
    subplan: i32,
) -> Result<ModifyPrivate, Error> {
    // SAFETY: the planner's pointers; guarded calls. The relation is locked.
    unsafe {
        let rte = *(*root).simple_rte_array.add(index as usize);
        let relation = pg_sys::table_open((*rte).relid, pg_sys::NoLock as i32);
        let attributes = attributes((*relation).rd_att);
        let triggers = (*relation).trigdesc.as_ref();
        let operation = (*plan).operation;
        let sets_all =
            operation == CmdType::CMD_INSERT || triggers.is_some_and(|t| t.trig_update_before_row);
        let targets = match operation {
            CmdType::CMD_DELETE => Vec::new(),
            _ if sets_all => attributes.iter().map(|a| i32::from(a.number)).collect(),
            _ => {
                let rel = pg_sys::find_base_rel(root, index as i32);
                let updated = compat::updated_columns(root, rel);
                let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
                attributes
                    .iter()
                    .map(|a| i32::from(a.number))
                    .filter(|n| pg_sys::bms_is_member(n - offset, updated))
                    .collect()
            }
        };
        let after_row = triggers.is_some_and(|t| match operation {
            CmdType::CMD_INSERT => t.trig_insert_after_row,
            CmdType::CMD_UPDATE => t.trig_update_after_row,
            _ => false,
        });
        let nth = |list: *mut pg_sys::List| {
            cells::<pg_sys::List>(list).nth(subplan as usize).unwrap_or(std::ptr::null_mut())
        };
        let looks = [nth((*plan).returningLists), nth((*plan).withCheckOptionLists)];
        let returning = looked_at(&looks, &[index], &attributes, after_row);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        let does_nothing_on_conflict =
            conflict_action((*plan).onConflictAction, (*plan).arbiterIndexes)?;
        Ok(ModifyPrivate { targets, returning, does_nothing_on_conflict })
    }
}

/// Whether DO NOTHING is to be passed on; refuses what cannot be.
pub fn conflict_action(
    action: pg_sys::OnConflictAction::Type,
    arbiters: *mut pg_sys::List,
) -> Result<bool, Error> {
    use pg_sys::OnConflictAction::{ONCONFLICT_NONE, ONCONFLICT_NOTHING};
    match action {
        ONCONFLICT_NONE => Ok(false),
        ONCONFLICT_NOTHING if arbiters.is_null() => Ok(true),
        ONCONFLICT_NOTHING => Err(Refusal::not_supported(
            "cannot pass ON CONFLICT with a conflict target to another node",
        )
        .with_hint("Use ON CONFLICT DO NOTHING without a target, or insert the rows of one partition at a time by its key.")
        .into()),
        _ => Err(Refusal::not_supported("cannot pass ON CONFLICT DO UPDATE to another node")
            .with_hint("Insert one row per statement with a constant distribution key, or use UPDATE and INSERT.")
            .into()),
    }
}
