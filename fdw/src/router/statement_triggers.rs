//! Triggers FOR EACH STATEMENT of a routed statement's target: leaves have none, so
//! they are fired here, once, before and after what is run at the leaf.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, EState, ResultRelInfo};

use super::merge::actions;

mod raw {
    use pgrx::pg_sys::{EState, ResultRelInfo, TransitionCaptureState};
    unsafe extern "C-unwind" {
        pub fn ExecInitResultRelation(estate: *mut EState, info: *mut ResultRelInfo, rti: u32);
        pub fn ExecBSInsertTriggers(estate: *mut EState, info: *mut ResultRelInfo);
        pub fn ExecBSUpdateTriggers(estate: *mut EState, info: *mut ResultRelInfo);
        pub fn ExecBSDeleteTriggers(estate: *mut EState, info: *mut ResultRelInfo);
        pub fn ExecASInsertTriggers(
            estate: *mut EState,
            info: *mut ResultRelInfo,
            rows: *mut TransitionCaptureState,
        );
        pub fn ExecASUpdateTriggers(
            estate: *mut EState,
            info: *mut ResultRelInfo,
            rows: *mut TransitionCaptureState,
        );
        pub fn ExecASDeleteTriggers(
            estate: *mut EState,
            info: *mut ResultRelInfo,
            rows: *mut TransitionCaptureState,
        );
    }
}

/// What a statement may do to its target, as far as triggers are there for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatementTriggers {
    /// The target's index in the range table.
    pub target: u32,
    /// For INSERT.
    pub insert: bool,
    /// For UPDATE, also by ON CONFLICT.
    pub update: bool,
    /// For DELETE.
    pub delete: bool,
}

impl StatementTriggers {
    /// Those that `query` fires.
    ///
    /// # Safety
    /// `query` is valid; its relations are locked.
    pub unsafe fn of(query: *const pg_sys::Query) -> StatementTriggers {
        // SAFETY: per the contract; guarded; read while the relation is open.
        unsafe {
            let target = (*query).resultRelation as u32;
            let mut found = StatementTriggers { target, ..Default::default() };
            if target == 0 {
                return found;
            }
            let does = |command| {
                (*query).commandType == command
                    || actions(query).any(|action| (*action).commandType == command)
            };
            let entry: *const pg_sys::RangeTblEntry =
                pg_sys::list_nth((*query).rtable, target as i32 - 1).cast();
            let relation = pg_sys::table_open((*entry).relid, pg_sys::NoLock as i32);
            if let Some(t) = (*relation).trigdesc.as_ref() {
                let conflicts = (*query).onConflict.as_ref().is_some_and(|conflict| {
                    conflict.action == pg_sys::OnConflictAction::ONCONFLICT_UPDATE
                });
                found.insert = does(CmdType::CMD_INSERT)
                    && (t.trig_insert_before_statement || t.trig_insert_after_statement);
                found.update = (conflicts || does(CmdType::CMD_UPDATE))
                    && (t.trig_update_before_statement || t.trig_update_after_statement);
                found.delete = does(CmdType::CMD_DELETE)
                    && (t.trig_delete_before_statement || t.trig_delete_after_statement);
            }
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            found
        }
    }

    /// Whether there are any.
    pub fn fire(&self) -> bool {
        self.insert || self.update || self.delete
    }

    /// As a number, for a plan.
    pub fn to_bits(self) -> i32 {
        i32::from(self.insert) | i32::from(self.update) << 1 | i32::from(self.delete) << 2
    }

    /// Of [`to_bits`](Self::to_bits).
    pub fn from_bits(target: u32, bits: i32) -> StatementTriggers {
        let [insert, update, delete] = [1, 2, 4].map(|bit| bits & bit != 0);
        StatementTriggers { target, insert, update, delete }
    }
}

/// Fires those BEFORE; the target, for [`after`].
///
/// # Safety
/// `estate` runs the statement and its query context is current; the caller is a
/// plain-old frame.
pub unsafe fn before(estate: *mut EState, triggers: StatementTriggers) -> *mut ResultRelInfo {
    // SAFETY: per the contract; zeroed memory that is then filled in.
    unsafe {
        let info: *mut ResultRelInfo = pg_sys::palloc0(size_of::<ResultRelInfo>()).cast();
        raw::ExecInitResultRelation(estate, info, triggers.target);
        if triggers.insert {
            raw::ExecBSInsertTriggers(estate, info);
        }
        if triggers.update {
            raw::ExecBSUpdateTriggers(estate, info);
        }
        if triggers.delete {
            raw::ExecBSDeleteTriggers(estate, info);
        }
        info
    }
}

/// Has those AFTER fired at the end of the statement.
///
/// # Safety
/// As [`before`], which gave `info`.
pub unsafe fn after(estate: *mut EState, triggers: StatementTriggers, info: *mut ResultRelInfo) {
    let no_rows = std::ptr::null_mut();
    // SAFETY: per the contract. In PostgreSQL's own order.
    unsafe {
        if triggers.delete {
            raw::ExecASDeleteTriggers(estate, info, no_rows);
        }
        if triggers.update {
            raw::ExecASUpdateTriggers(estate, info, no_rows);
        }
        if triggers.insert {
            raw::ExecASInsertTriggers(estate, info, no_rows);
        }
    }
}
