//! Which scans of a running statement may be asked for their rows again.
//!
//! A statement that writes must see, in every pass, what was there when it
//! began. A portal does that for one pass; a second portal would see what the
//! statement itself has written meanwhile. So such a scan keeps the rows of its
//! first pass, and only such a scan: the rows of a whole table are many.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

use crate::backend::cells;

/// Whether the plan node with this id is below something that runs it anew: the
/// inner side of a nested loop, a recursive union, a sub-select.
///
/// # Safety
/// `statement` is the plan of a running statement.
pub unsafe fn may_be_rescanned(statement: *const pg_sys::PlannedStmt, id: i32) -> bool {
    // SAFETY: the caller's.
    unsafe {
        if let Some(is_repeated) = find((*statement).planTree, id, false) {
            return is_repeated;
        }
        cells::<pg_sys::Plan>((*statement).subplans)
            // An alternative that was not taken leaves a hole.
            .filter(|plan| !plan.is_null())
            // A CTE that writes runs once.
            .filter_map(|plan| find(plan, id, !is_a(plan, NodeTag::T_ModifyTable)))
            .next()
            // Not found: a node that this walk does not know is above it.
            .unwrap_or(true)
    }
}

/// Whether the node is repeated, if it is in this tree.
unsafe fn find(plan: *mut pg_sys::Plan, id: i32, is_repeated: bool) -> Option<bool> {
    // SAFETY: a plan tree of the running statement; casts follow the tags.
    unsafe {
        if plan.is_null() {
            return None;
        }
        if (*plan).plan_node_id == id {
            return Some(is_repeated);
        }
        let inner =
            is_repeated || is_a(plan, NodeTag::T_NestLoop) || is_a(plan, NodeTag::T_RecursiveUnion);
        let children = match (*plan.cast::<pg_sys::Node>()).type_ {
            NodeTag::T_Append => (*plan.cast::<pg_sys::Append>()).appendplans,
            NodeTag::T_MergeAppend => (*plan.cast::<pg_sys::MergeAppend>()).mergeplans,
            NodeTag::T_SubqueryScan => {
                return find((*plan.cast::<pg_sys::SubqueryScan>()).subplan, id, is_repeated);
            }
            _ => std::ptr::null_mut(),
        };
        cells::<pg_sys::Plan>(children)
            .find_map(|child| find(child, id, is_repeated))
            .or_else(|| find((*plan).lefttree, id, is_repeated))
            .or_else(|| find((*plan).righttree, id, inner))
    }
}

unsafe fn is_a(plan: *mut pg_sys::Plan, tag: NodeTag) -> bool {
    // SAFETY: every plan begins with its tag.
    unsafe { (*plan.cast::<pg_sys::Node>()).type_ == tag }
}

/// Whether the statement that is being planned writes, at whatever level: what
/// it reads must not depend on values that come up while it runs, since a scan
/// that waits for them sees what has been written until then.
///
/// # Safety
/// `root` is the planner's.
pub unsafe fn plan_writes(root: *const pg_sys::PlannerInfo) -> bool {
    let mut level = root;
    // SAFETY: the caller's; each level points to the one around it.
    unsafe {
        while !level.is_null() {
            let query = &*(*level).parse;
            if query.commandType != pg_sys::CmdType::CMD_SELECT || query.hasModifyingCTE {
                return true;
            }
            level = (*level).parent_root;
        }
    }
    false
}

/// Whether an expression holds a value that another part of the plan computes.
///
/// # Safety
/// `expression` is valid or null.
pub unsafe fn waits_for_values(expression: *mut pg_sys::Node) -> bool {
    // SAFETY: guarded; walks the expression.
    unsafe { !pg_sys::pull_paramids(expression.cast()).is_null() }
}
