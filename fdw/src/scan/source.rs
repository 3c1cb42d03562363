//! Rows that one remote statement can read: those of a foreign table all of whose
//! conditions run there, or of several in one place, joined there.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;

use super::notes::Reasons;
use super::path::{row_cost, scan_cost, startup_cost};
use super::plan::row_lock;
use super::relation::RelationPlan;
use crate::backend::cells;
use crate::compat;
use crate::deparse::{Condition, From, RowLock};
use crate::placement::Placement;
use crate::shippable::NotShippable;

/// What a join or a grouping is built on; `fdw_private` of a joined relation.
#[derive(Clone)]
pub struct Source {
    /// Where all of them were when the plan was made.
    pub placement: Placement,
    /// Range table indexes, ascending.
    pub indexes: Vec<u32>,
    /// The relations and how they are joined.
    pub from: From,
    /// WHERE, AND between them; every one is shippable.
    pub conditions: Vec<Condition>,
    /// Expressions that the rows have to satisfy here; NIL in a source that
    /// something is built on.
    pub local_conditions: *mut pg_sys::List,
    /// Rows that satisfy the conditions and travel.
    pub rows: f64,
    /// Cost of beginning.
    pub startup: f64,
    /// Cost of finding the rows over there.
    pub work: f64,
    /// Cost of a row that travels.
    pub row_cost: f64,
    /// Option `fetch_size`; 0 for no bound.
    pub fetch_size: i32,
    /// May be read at the same time as others under an Append.
    pub is_async: bool,
    /// Why what would be built on it stays here.
    pub above: Reasons,
}

fn no<T>(reason: &'static str) -> Result<T, NotShippable> {
    Err(NotShippable { reason })
}

impl Source {
    /// The rows of a base or joined relation, or why they cannot be built on.
    ///
    /// # Safety
    /// `rel` is the planner's, a base or join relation of this wrapper, sized.
    pub unsafe fn of(rel: *mut pg_sys::RelOptInfo) -> Result<Source, NotShippable> {
        use pg_sys::RelOptKind::RELOPT_OTHER_JOINREL;
        use pg_sys::RelOptKind::{RELOPT_BASEREL, RELOPT_JOINREL, RELOPT_OTHER_MEMBER_REL};
        // SAFETY: per the contract; what `fdw_private` is follows from the kind.
        unsafe {
            match (*rel).reloptkind {
                _ if (*rel).fdw_private.is_null() => {
                    no("it is not planned as one remote statement")
                }
                RELOPT_BASEREL | RELOPT_OTHER_MEMBER_REL => Source::of_leaf(rel),
                RELOPT_JOINREL | RELOPT_OTHER_JOINREL => {
                    let source = &*(*rel).fdw_private.cast::<Source>();
                    if source.local_conditions.is_null() {
                        Ok(source.clone())
                    } else {
                        no("a condition stays here")
                    }
                }
                _ => no("it is not a relation of a kind that is built on"),
            }
        }
    }

    /// Notes why something built on a base or joined relation stays here.
    ///
    /// # Safety
    /// As [`Source::of`].
    pub unsafe fn note(rel: *mut pg_sys::RelOptInfo, note: impl FnOnce(&mut Reasons)) {
        use pg_sys::RelOptKind::{
            RELOPT_BASEREL, RELOPT_JOINREL, RELOPT_OTHER_JOINREL, RELOPT_OTHER_MEMBER_REL,
        };
        // SAFETY: as in `of`; of another wrapper or none, `fdw_private` is null.
        unsafe {
            if (*rel).fdw_private.is_null() {
                return;
            }
            match (*rel).reloptkind {
                RELOPT_BASEREL | RELOPT_OTHER_MEMBER_REL => {
                    note(&mut (*(*rel).fdw_private.cast::<RelationPlan>()).above);
                }
                RELOPT_JOINREL | RELOPT_OTHER_JOINREL => {
                    note(&mut (*(*rel).fdw_private.cast::<Source>()).above);
                }
                _ => {}
            }
        }
    }

    unsafe fn of_leaf(rel: *mut pg_sys::RelOptInfo) -> Result<Source, NotShippable> {
        // SAFETY: as in `of`; guarded.
        unsafe {
            let base = &*(*rel).fdw_private.cast::<RelationPlan>();
            for clause in cells::<pg_sys::RestrictInfo>((*rel).baserestrictinfo) {
                if (*clause).pseudoconstant {
                    return no("a condition does not depend on the rows");
                }
                if !pg_sys::list_member_ptr(base.remote, clause.cast()) {
                    return no("a condition stays here");
                }
            }
            Ok(Source {
                placement: base.placement,
                indexes: vec![(*rel).relid],
                from: From::Relation((*rel).relid),
                conditions: cells::<pg_sys::RestrictInfo>(base.remote)
                    .map(|info| Condition::Expression((*info).clause.cast()))
                    .collect(),
                local_conditions: null_mut(),
                rows: base.retrieved_rows,
                startup: startup_cost(base),
                work: scan_cost(rel),
                row_cost: row_cost(base),
                fetch_size: base.options.get_number("fetch_size").unwrap_or(0),
                is_async: base.is_async,
                above: Reasons::default(),
            })
        }
    }

    /// Range table entries, by index.
    ///
    /// # Safety
    /// `root` is the planner's, of this source.
    pub unsafe fn entries(
        &self,
        root: *mut pg_sys::PlannerInfo,
    ) -> Vec<(u32, *const pg_sys::RangeTblEntry)> {
        // SAFETY: the array has an entry for every base relation.
        let entry = |i: u32| unsafe { (*(*root).simple_rte_array.add(i as usize)).cast_const() };
        self.indexes.iter().map(|i| (*i, entry(*i))).collect()
    }

    /// The tables, and whose rights they are read with: the same for all, or
    /// core would not have offered to read them together.
    ///
    /// # Safety
    /// As [`Source::entries`].
    pub unsafe fn relations(
        &self,
        root: *mut pg_sys::PlannerInfo,
    ) -> (Vec<pg_sys::Oid>, pg_sys::Oid) {
        // SAFETY: per the contract.
        unsafe {
            let entries = self.entries(root);
            let user =
                entries.first().map_or(pg_sys::InvalidOid, |(_, e)| compat::check_as_user(*e));
            (entries.iter().map(|(_, entry)| (**entry).relid).collect(), user)
        }
    }

    /// Row locks that the statement wants, by range table index.
    ///
    /// # Safety
    /// As [`Source::entries`].
    pub unsafe fn locks(&self, root: *mut pg_sys::PlannerInfo) -> Vec<(u32, RowLock)> {
        // SAFETY: per the contract.
        let lock = |i: u32| unsafe { row_lock(root, *(*root).simple_rel_array.add(i as usize)) };
        self.indexes.iter().filter_map(|i| lock(*i).map(|lock| (*i, lock))).collect()
    }

    /// The indexes as a set.
    pub fn relids(&self) -> *mut pg_sys::Bitmapset {
        // SAFETY: guarded; allocates in the planner's context.
        self.indexes
            .iter()
            .fold(null_mut(), |set, i| unsafe { pg_sys::bms_add_member(set, *i as i32) })
    }
}
