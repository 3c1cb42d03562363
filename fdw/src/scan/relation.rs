//! GetForeignRelSize: which conditions go there, and how many rows come.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::{PgMemoryContexts, pg_sys};

use super::asynchronous::may_run_asynchronously;
use super::facts::{Facts, facts};
use super::notes::Reasons;
use super::plan::row_lock;
use super::remote_estimate::{RemoteEstimate, remote_estimate};
use super::rescans::{plan_writes, waits_for_values};
use crate::backend::{Attribute, attributes, cells};
use crate::error::{Error, Refusal, callback};
use crate::options::{self, OptionList, column_name};
use crate::placement::Placement;
use crate::shippable::is_shippable;

/// What planning has found out about a foreign relation; `rel->fdw_private`.
pub struct RelationPlan {
    /// Where it is now; a cached plan looks again when it runs.
    pub placement: Placement,
    /// RestrictInfos to be sent.
    pub remote: *mut pg_sys::List,
    /// Rows that are expected to travel.
    pub retrieved_rows: f64,
    /// Table and server options.
    pub options: OptionList,
    /// Scans may run at the same time as others under an Append.
    pub is_async: bool,
    /// Rows are locked there as they are read.
    pub locks_rows: bool,
    /// What the other side expects the scan to cost, if it was asked.
    pub asked: Option<RemoteEstimate>,
    /// Columns that an index over there begins with, as far as it is of interest.
    pub indexed: Vec<i16>,
    /// Why a join or grouping built on it stays here.
    pub above: Reasons,
}

impl RelationPlan {
    /// Whether the other side evaluates all conditions on the rows of `rel`.
    ///
    /// # Safety
    /// `rel` is the planner's, with this plan.
    pub unsafe fn has_no_local_conditions(&self, rel: *const pg_sys::RelOptInfo) -> bool {
        // SAFETY: per the contract; lists of RestrictInfos.
        unsafe {
            cells::<pg_sys::RestrictInfo>((*rel).baserestrictinfo).all(|clause| {
                (*clause).pseudoconstant || pg_sys::list_member_ptr(self.remote, clause.cast())
            })
        }
    }
}

/// A plain-old frame.
pub unsafe extern "C-unwind" fn get_rel_size(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    relid: pg_sys::Oid,
) {
    // SAFETY: called by the planner with valid pointers; no destructor here.
    unsafe { callback(|| estimate(root, rel, relid)) }
}

unsafe fn estimate(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    relid: pg_sys::Oid,
) -> Result<(), Error> {
    // SAFETY: the array has an entry for every base relation.
    unsafe { refuse_sample(*(*root).simple_rte_array.add((*rel).relid as usize))? };
    let placement = Placement::of(relid)?;
    let (server, own) = options::table_options(relid);
    let options = match placement {
        Placement::Server(_) => own.or(options::server_options(server)),
        Placement::Node(_) => own,
    };
    let there = placement;
    // SAFETY: the planner's pointers; guarded calls.
    unsafe {
        let (mut remote, mut local) = (null_mut(), null_mut());
        // The target of UPDATE and DELETE is read once.
        let is_target = pg_sys::bms_is_member((*rel).relid as i32, (*root).all_result_relids);
        for info in cells::<pg_sys::RestrictInfo>((*rel).baserestrictinfo) {
            // Over there conditions run in any order: one that could tell what a
            // security condition hides waits for it here.
            let keeps_secrets =
                (*info).security_level <= (*rel).baserestrict_min_security || (*info).leakproof;
            let ships = keeps_secrets
                && (is_target || !plan_writes(root) || !waits_for_values((*info).clause.cast()))
                && is_shippable((*info).clause.cast(), (*rel).relid, there).is_ok();
            let list = if ships { &mut remote } else { &mut local };
            *list = pg_sys::lappend(*list, info.cast());
        }
        let joins = !(*rel).joininfo.is_null() || (*rel).has_eclass_joins;
        let known = if joins { facts(relid, placement) } else { None };
        if let Some(known) = &known {
            (*rel).pages = (*rel).pages.max(known.pages as u32);
            let guess = || {
                let width = f64::from((*(*rel).reltarget).width) + 28.0;
                known.pages * f64::from(pg_sys::BLCKSZ) / width
            };
            // Counted here once, but it may have grown since.
            if known.pages > 0.0 {
                (*rel).tuples = (*rel).tuples.max(known.tuples.unwrap_or_else(guess));
            }
        }
        let indexed = known.map_or(Vec::new(), |known| indexed_columns(relid, placement, &known));
        if (*rel).tuples < 0.0 {
            // Never analysed: as for an empty local table, ten pages.
            (*rel).pages = 10;
            let width = f64::from((*(*rel).reltarget).width) + 24.0;
            (*rel).tuples = f64::from(10 * pg_sys::BLCKSZ) / width;
        }
        pg_sys::set_baserel_size_estimates(root, rel);
        let selectivity = pg_sys::clauselist_selectivity(
            root,
            remote,
            (*rel).relid as i32,
            pg_sys::JoinType::JOIN_INNER,
            null_mut(),
        );
        let mut retrieved_rows = pg_sys::clamp_row_est((*rel).tuples * selectivity);
        let rte = *(*root).simple_rte_array.add((*rel).relid as usize);
        let asks = matches!(placement, Placement::Server(_))
            && options.get_bool("use_remote_estimate") == Some(true);
        let asked = if asks { remote_estimate(rel, rte, placement, remote)? } else { None };
        if let Some(asked) = asked {
            retrieved_rows = pg_sys::clamp_row_est(asked.rows);
            let here = pg_sys::clauselist_selectivity(
                root,
                local,
                (*rel).relid as i32,
                pg_sys::JoinType::JOIN_INNER,
                null_mut(),
            );
            (*rel).rows = pg_sys::clamp_row_est(retrieved_rows * here);
        }
        let locks_rows = row_lock(root, rel).is_some();
        let is_async = may_run_asynchronously(placement, &options, locks_rows);
        let plan = RelationPlan {
            placement,
            remote,
            retrieved_rows,
            options,
            is_async,
            locks_rows,
            indexed,
            asked,
            above: Reasons::default(),
        };
        let mut context = PgMemoryContexts::For((*root).planner_cxt);
        (*rel).fdw_private = context.leak_and_drop_on_delete(plan).cast();
    }
    Ok(())
}

/// The columns here whose names over there indexes begin with.
fn indexed_columns(relid: pg_sys::Oid, placement: Placement, known: &Facts) -> Vec<i16> {
    // SAFETY: guarded; the planner holds a lock on the relation.
    let attributes = unsafe {
        let relation = pg_sys::table_open(relid, pg_sys::NoLock as i32);
        let attributes = attributes((*relation).rd_att);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        attributes
    };
    let has_own_names = matches!(placement, Placement::Server(_));
    let is_indexed = |attribute: &&Attribute| {
        let own = if has_own_names { column_name(relid, attribute.number) } else { None };
        known.indexed.contains(own.as_ref().unwrap_or(&attribute.name))
    };
    attributes.iter().filter(is_indexed).map(|attribute| attribute.number).collect()
}

/// PostgreSQL would take all rows of a foreign leaf for the sample.
unsafe fn refuse_sample(rte: *const pg_sys::RangeTblEntry) -> Result<(), Error> {
    // SAFETY: the planner's range table entry of the relation at hand.
    if unsafe { (*rte).tablesample.is_null() } {
        return Ok(());
    }
    Err(Refusal::not_supported("cannot take a TABLESAMPLE of rows on another node")
        .with_hint("Use a condition such as random() < 0.01 instead.")
        .into())
}
