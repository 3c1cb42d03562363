//! Scans that MergeAppend reads one after the other, asked for at the same time.
//!
//! Core has no asynchronous MergeAppend: it wants the first row of every child
//! before it returns its own first. So as soon as one of its scans is asked for a
//! row, all of them send their requests; then each waits for its own answer while
//! the others are under way. The round trips overlap, and so does the work of the
//! nodes.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

use crate::backend::cells;

/// Scans below one MergeAppend of one running statement.
pub struct Together {
    estate: *const pg_sys::EState,
    merge: i32,
    scans: RefCell<Vec<*mut pg_sys::ForeignScanState>>,
}

thread_local! {
    /// Of statements that run. Each lives as long as its scans' states.
    static ALL: RefCell<Vec<Weak<Together>>> = const { RefCell::new(Vec::new()) };
}

impl Together {
    /// Enters a scan that is being initialised; `None` if it is for itself.
    ///
    /// # Safety
    /// `node` is the executor's, and its state will hold the result: all of one
    /// statement live in the same memory context, and end with it.
    pub unsafe fn join(node: *mut pg_sys::ForeignScanState) -> Option<Rc<Together>> {
        // SAFETY: per the contract.
        unsafe {
            let estate = (*node).ss.ps.state;
            let statement = (*estate).es_plannedstmt;
            // Scans that lock rows go through the nodes in the same order always.
            if (*node).ss.ps.async_capable
                || !(*estate).es_epq_active.is_null()
                || !(*statement).rowMarks.is_null()
            {
                return None;
            }
            let id = (*(*node).ss.ps.plan).plan_node_id;
            let merge = merge_above(statement, id)?;
            ALL.with(|all| {
                let mut all = all.borrow_mut();
                all.retain(|one| one.strong_count() > 0);
                let known = all
                    .iter()
                    .filter_map(Weak::upgrade)
                    .find(|one| std::ptr::eq(one.estate, estate) && one.merge == merge);
                let together = known.unwrap_or_else(|| {
                    let new = Rc::new(Together { estate, merge, scans: RefCell::default() });
                    all.push(Rc::downgrade(&new));
                    new
                });
                together.scans.borrow_mut().push(node);
                Some(together)
            })
        }
    }

    /// The scan with this position in the order of joining.
    pub fn scan(&self, position: usize) -> Option<*mut pg_sys::ForeignScanState> {
        self.scans.borrow().get(position).copied()
    }
}

/// The plan node id of the MergeAppend that needs the first row of the plan node
/// `id` for its own first row.
///
/// # Safety
/// `statement` is the plan of a running statement.
unsafe fn merge_above(statement: *const pg_sys::PlannedStmt, id: i32) -> Option<i32> {
    // SAFETY: the caller's; lists of Plans.
    unsafe {
        let plans = cells::<pg_sys::Plan>((*statement).subplans);
        std::iter::once((*statement).planTree).chain(plans).find_map(|p| find(p, id, None))?
    }
}

/// `Some` if the node is in this tree; then the MergeAppend, if there is one.
unsafe fn find(plan: *mut pg_sys::Plan, id: i32, merge: Option<i32>) -> Option<Option<i32>> {
    // SAFETY: a plan tree of the running statement; casts follow the tags.
    unsafe {
        if plan.is_null() {
            return None;
        }
        if (*plan).plan_node_id == id {
            return Some(merge);
        }
        let (children, merge) = match (*plan.cast::<pg_sys::Node>()).type_ {
            NodeTag::T_Append => ((*plan.cast::<pg_sys::Append>()).appendplans, None),
            NodeTag::T_MergeAppend => {
                let append = plan.cast::<pg_sys::MergeAppend>();
                let reads_all = !prunes_while_running((*append).part_prune_info);
                let merge = reads_all.then_some((*plan).plan_node_id);
                ((*append).mergeplans, merge)
            }
            NodeTag::T_SubqueryScan => {
                return find((*plan.cast::<pg_sys::SubqueryScan>()).subplan, id, merge);
            }
            // These ask for their child's first row when they are asked for theirs.
            NodeTag::T_Sort
            | NodeTag::T_IncrementalSort
            | NodeTag::T_Agg
            | NodeTag::T_Group
            | NodeTag::T_Unique => (std::ptr::null_mut(), merge),
            _ => (std::ptr::null_mut(), None),
        };
        cells::<pg_sys::Plan>(children)
            .find_map(|child| find(child, id, merge))
            .or_else(|| find((*plan).lefttree, id, merge))
            .or_else(|| find((*plan).righttree, id, None))
    }
}

/// Whether children may be left out by values that come up while the plan runs.
unsafe fn prunes_while_running(info: *const pg_sys::PartitionPruneInfo) -> bool {
    // SAFETY: null or of a valid plan: a list of lists.
    unsafe {
        !info.is_null()
            && cells::<pg_sys::List>((*info).prune_infos).any(|hierarchy| {
                cells::<pg_sys::PartitionedRelPruneInfo>(hierarchy)
                    .any(|one| !(*one).exec_pruning_steps.is_null())
            })
    }
}
