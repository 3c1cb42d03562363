//! GetForeignJoinPaths: joins of foreign tables in one place.
//!
//! Core offers every join of two relations of one server that are read with the
//! same rights; whether leaves are on one node is for us to see. Inner and outer
//! joins become what they are called; a semi join becomes EXISTS, an anti join
//! NOT EXISTS.
//!
//! A condition of an outer join's ON must not end in WHERE nor the other way
//! round: those of the side that keeps its rows go to WHERE, those of the side
//! that may be filled with NULLs to ON. Below a full join they stay with their
//! side.
//!
//! READ COMMITTED may check a row of the join again (UPDATE, DELETE, FOR UPDATE,
//! after a concurrent change of a local row): such a statement carries a plan
//! that joins here, which is used on the rows at hand for that alone.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys::JoinType;
use pgrx::{PgMemoryContexts, pg_sys};

use super::ScanPrivate;
use super::notes::{Notes, Reasons};
use super::path::{add_sorted_join_path, join_order};
use super::plan::path_limit;
use super::rescans::{plan_writes, waits_for_values};
use super::source::Source;
use crate::backend::cells;
use crate::deparse::{Condition, From, JoinKind, Parameters, RemoteQuery, query_statement};
use crate::error::{Error, Refusal, callback};
use crate::shippable::{NotShippable, is_shippable_grouped};

fn no<T>(reason: &'static str) -> Result<T, NotShippable> {
    Err(NotShippable { reason })
}

/// A plain-old frame.
pub unsafe extern "C-unwind" fn get_join_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
    join: JoinType::Type,
    extra: *mut pg_sys::JoinPathExtraData,
) {
    // SAFETY: called by the planner with valid pointers; no destructor here.
    unsafe {
        callback(|| {
            // Asked once for each way to split the relation: one answer will do.
            if (*rel).fdw_private.is_null() {
                let sides = Sides { root, rel, outer, inner };
                match sides.joined(join, (*extra).restrictlist) {
                    Ok((source, local_join)) => add_path(root, rel, source, local_join),
                    Err(NotShippable { reason }) => {
                        for side in [outer, inner] {
                            Source::note(side, |above| {
                                above.join.get_or_insert(reason);
                            });
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

/// The planner's view of a join; all pointers are valid.
struct Sides {
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
}

/// A join's conditions by where they belong.
#[derive(Default)]
struct Clauses {
    /// Decide which rows match.
    on: Vec<Condition>,
    /// Are applied to what comes out.
    after: Vec<Condition>,
}

impl Sides {
    /// What is read, and a way to join here if rows may be checked again.
    unsafe fn joined(
        &self,
        join: JoinType::Type,
        clauses: *mut pg_sys::List,
    ) -> Result<(Source, *mut pg_sys::Path), NotShippable> {
        let kind = match join {
            JoinType::JOIN_INNER => Some(JoinKind::Inner),
            JoinType::JOIN_LEFT => Some(JoinKind::Left),
            JoinType::JOIN_RIGHT => Some(JoinKind::Right),
            JoinType::JOIN_FULL => Some(JoinKind::Full),
            JoinType::JOIN_SEMI | JoinType::JOIN_ANTI => None,
            _ => return no("it is a join of a kind that only exists in plans"),
        };
        // SAFETY: the planner's pointers; guarded.
        unsafe {
            self.check()?;
            let (outer, inner) = (Source::of(self.outer)?, Source::of(self.inner)?);
            if outer.placement != inner.placement {
                return no("the tables are on different nodes");
            }
            let local_join = self.local_join()?;
            let mut local_conditions = null_mut();
            let mut sorted = self.sort(&outer, join, clauses, &mut local_conditions)?;
            if kind.is_none() && self.shows_inner() {
                return no("it returns a column of the side that is only looked into");
            }
            let rows = if local_conditions.is_null() {
                (*self.rel).rows
            } else {
                let selectivity = pg_sys::clauselist_selectivity(
                    self.root,
                    local_conditions,
                    0,
                    JoinType::JOIN_INNER,
                    null_mut(),
                );
                pg_sys::clamp_row_est((*self.rel).rows / selectivity.max(1e-6))
            };
            // As a hash join over there, without the details.
            let pairs = pg_sys::cpu_operator_cost * (outer.rows + 2.0 * inner.rows)
                + pg_sys::cpu_tuple_cost * rows;
            let mut indexes = [outer.indexes.as_slice(), inner.indexes.as_slice()].concat();
            indexes.sort_unstable();

            let (mut kept, filled) = (outer.conditions, inner.conditions);
            let (left, right) = (outer.from, inner.from);
            let (left, right) = match kind {
                None => {
                    sorted.on.splice(0..0, filled);
                    kept.push(Condition::Exists {
                        is_negated: join == JoinType::JOIN_ANTI,
                        from: right,
                        conditions: std::mem::take(&mut sorted.on),
                    });
                    (left, None)
                }
                Some(JoinKind::Inner) => {
                    kept.extend(filled);
                    (left, Some(right))
                }
                Some(JoinKind::Left) => {
                    sorted.on.extend(filled);
                    (left, Some(right))
                }
                Some(JoinKind::Right) => {
                    sorted.on.extend(std::mem::replace(&mut kept, filled));
                    (left, Some(right))
                }
                Some(JoinKind::Full) => {
                    let left = From::filtered(left, std::mem::take(&mut kept));
                    (left, Some(From::filtered(right, filled)))
                }
            };
            kept.extend(sorted.after);
            let from = match (kind, right) {
                (Some(kind), Some(right)) => {
                    From::Join { kind, left: Box::new(left), right: Box::new(right), on: sorted.on }
                }
                _ => left,
            };
            let source = Source {
                indexes,
                from,
                conditions: kept,
                local_conditions,
                rows,
                work: outer.work + inner.work + pairs,
                is_async: outer.is_async && inner.is_async,
                above: Reasons::default(),
                placement: outer.placement,
                startup: outer.startup,
                row_cost: outer.row_cost.max(inner.row_cost),
                fetch_size: outer.fetch_size.max(inner.fetch_size),
            };
            Ok((source, local_join))
        }
    }

    /// What makes any join stay here.
    unsafe fn check(&self) -> Result<(), NotShippable> {
        // SAFETY: the planner's pointers; guarded.
        unsafe {
            if (*self.root).qual_security_level > 0 {
                return no("a security condition must come first");
            }
            for rel in [self.rel, self.outer, self.inner] {
                if !(*rel).lateral_relids.is_null() {
                    return no("it depends on another relation of the query");
                }
            }
            let own = if (*self.rel).top_parent_relids.is_null() {
                (*self.rel).relids
            } else {
                (*self.rel).top_parent_relids
            };
            // One that belongs on top of this join is computed here.
            for info in cells::<pg_sys::PlaceHolderInfo>((*self.root).placeholder_list) {
                let at = (*info).ph_eval_at;
                if pg_sys::bms_is_subset(at, own) && pg_sys::bms_nonempty_difference(own, at) {
                    return no("an expression has to be computed below the join");
                }
            }
            Ok(())
        }
    }

    /// A path that joins here, for rows that are checked again; null if none are.
    unsafe fn local_join(&self) -> Result<*mut pg_sys::Path, NotShippable> {
        // SAFETY: the planner's pointers; guarded.
        unsafe {
            let is_select = (*(*self.root).parse).commandType == pg_sys::CmdType::CMD_SELECT;
            if is_select && (*self.root).rowMarks.is_null() {
                return Ok(null_mut());
            }
            let path = pg_sys::GetExistingLocalJoinPath(self.rel);
            if path.is_null() {
                return no("its rows may have to be checked again, and no plan here could do that");
            }
            Ok(path)
        }
    }

    unsafe fn sort(
        &self,
        outer: &Source,
        join: JoinType::Type,
        clauses: *mut pg_sys::List,
        local: &mut *mut pg_sys::List,
    ) -> Result<Clauses, NotShippable> {
        let is_outer = matches!(
            join,
            JoinType::JOIN_LEFT | JoinType::JOIN_RIGHT | JoinType::JOIN_FULL | JoinType::JOIN_ANTI
        );
        let mut sorted = Clauses::default();
        // SAFETY: the planner's pointers; guarded.
        unsafe {
            for info in cells::<pg_sys::RestrictInfo>(clauses) {
                let clause: *mut pg_sys::Node = (*info).clause.cast();
                if (*info).pseudoconstant {
                    return no("a condition does not depend on the rows");
                }
                let comes_after = is_outer
                    && ((*info).is_pushed_down
                        || !pg_sys::bms_is_subset((*info).required_relids, (*self.rel).relids));
                if comes_after
                    && join == JoinType::JOIN_ANTI
                    && pg_sys::bms_overlap(
                        pg_sys::pull_varnos(self.root, clause),
                        (*self.inner).relids,
                    )
                {
                    return no("a condition looks at the side that an anti join leaves out");
                }
                let waits = plan_writes(self.root) && waits_for_values(clause);
                let ships = if waits {
                    no("the statement writes, and the condition waits for a value")
                } else {
                    is_shippable_grouped(clause, (*self.rel).relids, outer.placement)
                };
                match ships {
                    Ok(()) if comes_after => sorted.after.push(Condition::Expression(clause)),
                    Ok(()) => sorted.on.push(Condition::Expression(clause)),
                    // Applied to the rows that come, which must have what it looks at.
                    Err(_) if comes_after && join != JoinType::JOIN_ANTI => {
                        *local = pg_sys::lappend(*local, clause.cast());
                    }
                    Err(_) if join == JoinType::JOIN_INNER => {
                        *local = pg_sys::lappend(*local, clause.cast());
                    }
                    Err(reason) => return Err(reason),
                }
            }
        }
        Ok(sorted)
    }

    /// Whether something above looks at the inner side.
    unsafe fn shows_inner(&self) -> bool {
        // SAFETY: the planner's pointers; guarded.
        unsafe {
            let above = pg_sys::pull_varnos(self.root, (*(*self.rel).reltarget).exprs.cast());
            pg_sys::bms_overlap(above, (*self.inner).relids)
        }
    }
}

unsafe fn add_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    source: Source,
    local_join: *mut pg_sys::Path,
) {
    // SAFETY: the planner's pointers; guarded.
    unsafe {
        let startup = source.startup;
        let checks = source.rows
            * pg_sys::cpu_operator_cost
            * cells::<pg_sys::Node>(source.local_conditions).count() as f64;
        let row_cost = source.row_cost;
        let total = startup + source.work + source.rows * row_cost + checks;
        let mut context = PgMemoryContexts::For((*root).planner_cxt);
        (*rel).fdw_private = context.leak_and_drop_on_delete(source).cast();
        let add = |rows: f64, startup: f64, total: f64, pathkeys: *mut pg_sys::List| {
            let path = pg_sys::create_foreign_join_path(
                root,
                rel,
                null_mut(),
                rows,
                startup,
                total,
                pathkeys,
                null_mut(),
                local_join,
                null_mut(),
            );
            pg_sys::add_path(rel, path.cast());
        };
        add((*rel).rows, startup, total, null_mut());
        // What checks rows again would have to have the order too.
        if local_join.is_null() {
            add_sorted_join_path(root, rel, total, row_cost, add);
        }
    }
}

/// The plan of a path made here. `local_join` is that of the path that checks
/// rows again, or null.
///
/// # Safety
/// The planner's pointers; `rel` got its path from [`get_join_paths`].
pub unsafe fn plan_join(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    best_path: *const pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
    local_join: *mut pg_sys::Plan,
) -> Result<*mut pg_sys::ForeignScan, Error> {
    // SAFETY: per the contract; guarded.
    unsafe {
        if (*rel).fdw_private.is_null() {
            return Err(Refusal::internal("a joined relation has no plan of its own").into());
        }
        let source = &*(*rel).fdw_private.cast::<Source>();
        // Columns only. By now the target may hold any expression of the query:
        // those are evaluated here, also because a parameter that is a column of
        // the scan would be taken for that column where its value is computed.
        let columns = |expressions: *mut pg_sys::List| {
            pg_sys::pull_var_clause(expressions.cast(), pg_sys::PVC_RECURSE_PLACEHOLDERS as i32)
        };
        let scan_list = pg_sys::add_to_flat_tlist(null_mut(), columns((*(*rel).reltarget).exprs));
        let scan_list = pg_sys::add_to_flat_tlist(scan_list, columns(source.local_conditions));
        let pathkeys = (*best_path).path.pathkeys;
        let order = join_order(root, rel, pathkeys)
            .ok_or_else(|| Refusal::internal("a foreign join cannot have its path's order"))?;
        let limit = match source.local_conditions.is_null() {
            true => path_limit(root, rel, pathkeys),
            false => None,
        };
        let mut parameters = Parameters::new();
        let sql = query_statement(
            &RemoteQuery {
                placement: source.placement,
                entries: source.entries(root),
                from: &source.from,
                target_list: scan_list,
                is_grouped: false,
                conditions: &source.conditions,
                having: null_mut(),
                order,
                limit,
                locks: source.locks(root),
            },
            &mut parameters,
        )?;
        let (relations, user) = source.relations(root);
        let private = ScanPrivate {
            sql,
            columns: cells::<pg_sys::TargetEntry>(scan_list)
                .map(|e| i32::from((*e).resno))
                .collect(),
            fetch_size: source.fetch_size,
            needs_heap_tuples: false,
            relations,
            user,
        };
        // Both produce the same rows.
        let local_join = if local_join.is_null() {
            local_join
        } else {
            pg_sys::change_plan_targetlist(local_join, scan_list, false)
        };
        let mut notes = Notes::default();
        for condition in cells::<pg_sys::Node>(source.local_conditions) {
            let ships = is_shippable_grouped(condition, (*rel).relids, source.placement);
            if let Err(NotShippable { reason }) = ships {
                notes.add("condition", reason);
            }
        }
        notes.add_reasons(&source.above);
        Ok(pg_sys::make_foreignscan(
            target_list,
            source.local_conditions,
            0,
            parameters.into_list(),
            notes.append_to(private.to_list()),
            scan_list,
            null_mut(),
            local_join,
        ))
    }
}
