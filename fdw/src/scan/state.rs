//! A running scan: a statement, its parameters and the portal that brings its
//! rows.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::{PgMemoryContexts, pg_sys};

use super::ScanPrivate;
use super::effort::Effort;
use super::evaluated::Evaluated;
use super::rescans::may_be_rescanned;
use super::run::{FIRST_ROWS, Run, not_running};
use super::together::Together;
use crate::backend::{Attribute, attributes, cells, form_tuple};
use crate::error::Error;
use crate::placement::Placement;
use crate::session::{self, Errand, Request, Statement, Target};
use crate::transport::RowBuffer;
use crate::types::{ParameterWriter, RowReader};

/// What the caller's frame does next.
#[derive(Clone, Copy)]
pub enum Step {
    /// The scan slot holds the row, or is empty at the end.
    Slot,
    /// Evaluate the parameters, then step again.
    Evaluate {
        /// Where to.
        context: *mut pg_sys::ExprContext,
        /// ExprStates.
        expressions: *mut *mut pg_sys::ExprState,
        /// Results.
        values: *mut pg_sys::Datum,
        /// Whether they are NULL.
        nulls: *mut bool,
        /// How many.
        count: usize,
    },
}

/// What a statement does over there besides returning rows.
#[derive(Clone, Copy)]
pub struct Effects {
    /// It may lock rows.
    pub may_lock: bool,
    /// It changes rows.
    pub writes: bool,
}

/// State of one scan node.
pub struct ScanState {
    relations: Vec<pg_sys::Oid>,
    user: pg_sys::Oid,
    statement: Statement,
    rows: RowReader,
    needs_heap_tuples: bool,
    /// The statement may lock rows there.
    may_lock: bool,
    /// It is no SELECT but a direct modification.
    writes: bool,
    fetch_size: i32,
    parameters: Evaluated,
    /// All rows of a pass are kept for the next one.
    keeps_rows: bool,
    /// Under an Append that does not want to wait for us.
    is_async: bool,
    /// The scans that are to be asked together with this one.
    together: Option<Rc<Together>>,
    pub(super) run: Option<Run>,
    effort: Rc<Effort>,
}

impl ScanState {
    /// Makes the state of a node; it lives in the query's context.
    ///
    /// # Safety
    /// `node` is being initialised by the executor.
    pub unsafe fn begin(node: *mut pg_sys::ForeignScanState) -> Result<(), Error> {
        // SAFETY: the executor's pointers; guarded calls. The state is dropped
        // with the query's context, and dropping it does no I/O.
        unsafe {
            let plan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
            let estate = (*node).ss.ps.state;
            let context = (*estate).es_query_cxt;
            let private = ScanPrivate::from_list((*plan).fdw_private);
            session::note_relations(&private.relations);
            // Of a grouped relation there is no tuple but the scan's own.
            let descriptor = (*(*node).ss.ss_ScanTupleSlot).tts_tupleDescriptor;
            let mut attributes = attributes(descriptor);
            name_row_types(estate, plan, &mut attributes);
            let natts = (*descriptor).natts as usize;
            let rows = RowReader::new(&attributes, &private.columns, natts, context);
            let parameters = Evaluated::new(node, (*plan).fdw_exprs, context);
            let user = match private.user {
                pg_sys::InvalidOid => pg_sys::GetUserId(),
                user => user,
            };
            let statement = Statement {
                sql: private.sql.as_slice().into(),
                types: parameters.writers.iter().map(ParameterWriter::type_oid).collect(),
                parameter_formats: parameters.writers.iter().map(|w| w.format().code()).collect(),
                result_formats: rows.formats().into(),
                is_kept: true,
            };
            let statement_here = (*estate).es_plannedstmt;
            let may_lock = (*statement_here).commandType != pg_sys::CmdType::CMD_SELECT
                || (*statement_here).hasModifyingCTE
                || !(*statement_here).rowMarks.is_null();
            let mut state = ScanState {
                may_lock,
                writes: (*plan).operation != pg_sys::CmdType::CMD_SELECT,
                relations: private.relations,
                user,
                statement,
                rows,
                needs_heap_tuples: private.needs_heap_tuples,
                fetch_size: private.fetch_size,
                parameters,
                keeps_rows: false,
                is_async: (*node).ss.ps.async_capable,
                together: Together::join(node),
                run: None,
                effort: Rc::default(),
            };
            if state.is_async || state.together.is_some() {
                session::announce(Placement::of_all(&state.relations)?.target(user));
            }
            // A direct modification reads no other rows than those it changes.
            if !state.writes && (statement_writes(estate) || session::is_a_cursors(estate)) {
                state.keeps_rows = may_be_rescanned(statement_here, (*plan).scan.plan.plan_node_id);
                state.bind_ahead()?;
            }
            let mut home = PgMemoryContexts::For(context);
            (*node).fdw_state = home.leak_and_drop_on_delete(state).cast();
        }
        Ok(())
    }

    /// The state of a statement that another plan node runs; to be started and
    /// filled by that node. `relations` are the tables it names, all in one place.
    pub fn of_statement(
        statement: Statement,
        relations: Vec<pg_sys::Oid>,
        rows: RowReader,
        parameters: Evaluated,
        effects: Effects,
    ) -> ScanState {
        ScanState {
            may_lock: effects.may_lock,
            writes: effects.writes,
            relations,
            user: pg_sys::InvalidOid,
            statement,
            rows,
            needs_heap_tuples: false,
            fetch_size: 0,
            parameters,
            keeps_rows: false,
            is_async: false,
            together: None,
            run: None,
            effort: Rc::default(),
        }
    }

    /// # Safety
    /// `node` went through [`ScanState::begin`].
    pub unsafe fn of<'a>(node: *mut pg_sys::ForeignScanState) -> &'a mut ScanState {
        // SAFETY: per the contract; the executor runs a node once at a time.
        unsafe { &mut *(*node).fdw_state.cast::<ScanState>() }
    }

    /// Goes on until a row is in the slot, the end is reached, or parameters
    /// are to be evaluated.
    ///
    /// # Safety
    /// `node` is this state's.
    pub unsafe fn step(&mut self, node: *mut pg_sys::ForeignScanState) -> Result<Step, Error> {
        if self.waits_to_ask() {
            // SAFETY: the executor's pointers.
            if let Some(evaluate) = unsafe { self.ask_together(node)? } {
                return Ok(evaluate);
            }
        }
        if self.run.is_none() {
            // SAFETY: the executor's pointers.
            if let Some(evaluate) = unsafe { self.needs_values(node) } {
                return Ok(evaluate);
            }
            // SAFETY: the executor's pointers; the caller's frame has evaluated
            // what was asked for.
            unsafe {
                let errand = self.errand_of_its_own(node);
                self.start(errand)?;
            }
        }
        // SAFETY: the scan slot belongs to the node.
        unsafe { self.fill((*node).ss.ss_ScanTupleSlot)? };
        Ok(Step::Slot)
    }

    /// Sends the statement, as a transaction of its own if it has an errand.
    ///
    /// # Safety
    /// The parameters have been evaluated and still live.
    pub unsafe fn start(&mut self, errand: Option<Errand>) -> Result<(), Error> {
        // SAFETY: per the contract.
        unsafe { self.parameters.encode() };
        let run = errand.map_or(Ok(None), |errand| self.run_alone(errand))?;
        self.run = Some(match run {
            Some(run) => run,
            None => self.open()?,
        });
        Ok(())
    }

    /// Has the portal bound, to see what is there now, without asking for rows. The
    /// parameters have been evaluated.
    ///
    /// # Safety
    /// As [`start`](Self::start).
    pub unsafe fn bind(&mut self) -> Result<(), Error> {
        // SAFETY: per the contract.
        unsafe { self.parameters.encode() };
        self.run = Some(self.bound_run()?);
        Ok(())
    }

    /// Puts the next row into `slot`, or leaves it empty at the end; in async mode
    /// also if it has not come.
    ///
    /// # Safety
    /// The scan was started; the slot has its columns.
    pub unsafe fn fill(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        let Some(run) = &mut self.run else { return Err(not_running()) };
        loop {
            if let Some(body) = run.chunk.next_row(&mut run.position) {
                // SAFETY: the slot's arrays have natts entries; clearing it ends
                // the use of the former row.
                unsafe {
                    pg_sys::ExecClearTuple(slot);
                    let ctid = self.rows.read(body, (*slot).tts_values, (*slot).tts_isnull)?;
                    store(slot, ctid, self.needs_heap_tuples, &self.rows);
                }
                return Ok(());
            }
            // In async mode an empty slot also says: not yet.
            if run.is_exhausted || (self.is_async && !run.is_ready(self.fetch_size)?) {
                // SAFETY: guarded.
                unsafe { pg_sys::ExecClearTuple(slot) };
                return Ok(());
            }
            run.fetch(&self.statement, self.fetch_size, self.keeps_rows)?;
        }
    }

    /// Parameters that have not been evaluated for the coming run.
    ///
    /// # Safety
    /// `node` is this state's.
    unsafe fn needs_values(&mut self, node: *mut pg_sys::ForeignScanState) -> Option<Step> {
        let p = &mut self.parameters;
        if p.writers.is_empty() || p.is_fresh {
            return None;
        }
        p.is_fresh = true;
        Some(Step::Evaluate {
            // SAFETY: per the contract.
            context: unsafe { (*node).ss.ps.ps_ExprContext },
            expressions: p.expressions,
            values: p.values,
            nulls: p.nulls,
            count: p.writers.len(),
        })
    }

    /// No rows have been asked for.
    fn waits_to_ask(&self) -> bool {
        self.run
            .as_ref()
            .is_none_or(|run| run.chunks == 0 && run.pending.is_none() && !run.is_exhausted)
    }

    /// Has the scans that MergeAppend will want next ask for their rows. Stops to
    /// have parameters evaluated; then it is to be called again.
    ///
    /// # Safety
    /// `node` is this state's.
    unsafe fn ask_together(
        &self,
        node: *mut pg_sys::ForeignScanState,
    ) -> Result<Option<Step>, Error> {
        let Some(together) = &self.together else { return Ok(None) };
        let mut position = 0;
        while let Some(other) = together.scan(position) {
            position += 1;
            // SAFETY: scans of the same statement, initialised; this state is
            // skipped, so that no other reference to it comes up. One whose
            // parameters changed is to be rescanned first, by its own parent.
            unsafe {
                if other == node
                    || (*other).fdw_state.is_null()
                    || !(*other).ss.ps.chgParam.is_null()
                {
                    continue;
                }
                let state = ScanState::of(other);
                if !state.waits_to_ask() {
                    continue;
                }
                if let Some(run) = &mut state.run {
                    let first = run.next_size(state.fetch_size);
                    run.pending = Some(run.ask(first)?);
                    continue;
                }
                if let Some(evaluate) = state.needs_values(other) {
                    return Ok(Some(evaluate));
                }
                state.parameters.encode();
                state.run = Some(state.open()?);
            }
        }
        Ok(None)
    }

    /// What the statement is if it can be a transaction of its own over there.
    unsafe fn errand_of_its_own(&self, node: *mut pg_sys::ForeignScanState) -> Option<Errand> {
        // SAFETY: the executor's pointers; the node is running.
        unsafe {
            if self.writes {
                return is_all(node).then_some(Errand::Write);
            }
            // Asked twice costs more than BEGIN and COMMIT.
            let is_short = (*(*node).ss.ps.plan).plan_rows <= f64::from(FIRST_ROWS);
            let reads = is_short && !self.may_lock && !self.is_async;
            (reads && session::reads_alone((*node).ss.ps.state)).then_some(Errand::Read)
        }
    }

    /// Runs it as such, in one round trip; `None` if it is to be opened.
    fn run_alone(&self, errand: Errand) -> Result<Option<Run>, Error> {
        let target = Placement::of_all(&self.relations)?.target(self.user);
        // A foreign table of a user's own server may be a view over functions
        // that write, which must not outlive a failure here.
        if errand == Errand::Read && !matches!(target, Target::Node(_)) {
            return Ok(None);
        }
        let slot = session::acquire(target)?;
        let max_rows = match errand {
            Errand::Read => self.first_rows(),
            Errand::Write => 0,
        };
        self.effort.begin_to_wait();
        let Some(reply) = slot.run_alone(&self.request("", max_rows), errand)? else {
            return Ok(None);
        };
        self.effort.received(reply.rows.len());
        Ok(Some(Run {
            slot,
            // Of no transaction that could still be there.
            owner: (0, 0),
            portal: String::new(),
            bound: None,
            pending: None,
            waiting: None,
            affected: reply.affected(),
            effort: self.effort.clone(),
            chunk: reply.rows,
            position: 0,
            chunks: 1,
            is_exhausted: true,
        }))
    }

    fn first_rows(&self) -> i32 {
        if self.fetch_size > 0 { FIRST_ROWS.min(self.fetch_size) } else { FIRST_ROWS }
    }

    fn open(&self) -> Result<Run, Error> {
        let (mut run, user) = self.prepare_run()?;
        let first = run.next_size(self.fetch_size);
        let request = self.request(&run.portal, first);
        run.pending = Some(run.slot.enter()?.request(&request, user)?);
        Ok(run)
    }

    /// Has the portal bound without asking for rows, unless it waits for
    /// parameters.
    ///
    /// A portal sees what was there when it was bound. If the scans of a
    /// statement that writes were opened only when they are needed, a later one
    /// would see what the same statement has written meanwhile, and
    /// INSERT … SELECT from the same table would take its own rows in again.
    fn bind_ahead(&mut self) -> Result<(), Error> {
        if self.parameters.writers.is_empty() {
            self.run = Some(self.bound_run()?);
        }
        Ok(())
    }

    fn bound_run(&self) -> Result<Run, Error> {
        let (mut run, user) = self.prepare_run()?;
        let request = self.request(&run.portal, 0);
        run.bound = Some(run.slot.enter()?.bind(&request, user)?);
        Ok(run)
    }

    fn request<'a>(&'a self, portal: &'a str, max_rows: i32) -> Request<'a> {
        Request { statement: &self.statement, parameters: &self.parameters.wire, portal, max_rows }
    }

    /// A run of which nothing has been sent yet, and whom the session keeps
    /// statements for.
    fn prepare_run(&self) -> Result<(Run, u32), Error> {
        let target = Placement::of_all(&self.relations)?.target(self.user);
        session::open_announced()?;
        let slot = session::acquire(target)?;
        let (owner, portal) = {
            let mut session = slot.enter()?;
            session.holds |= self.may_lock;
            session.wrote |= self.writes;
            // One that returns nothing is through with its first answer.
            let is_brief = self.writes && self.statement.result_formats.is_empty();
            let portal = if is_brief { String::new() } else { session.new_portal() };
            ((session.id, session.transaction), portal)
        };
        // SAFETY: guarded; reads the current user.
        let user = unsafe { pg_sys::GetUserId() }.to_u32();
        let run = Run {
            slot,
            owner,
            portal,
            bound: None,
            pending: None,
            waiting: None,
            chunk: RowBuffer::default(),
            position: 0,
            chunks: 0,
            is_exhausted: false,
            affected: 0,
            effort: self.effort.clone(),
        };
        Ok((run, user))
    }

    /// Back to the first row. A scan whose rows are all in the first chunk, or
    /// that has not gone past it, needs nothing from the other side.
    pub fn rescan(&mut self, parameters_changed: bool) {
        let goes_back = self.run.as_ref().is_some_and(|r| r.chunks <= 1 || self.keeps_rows);
        // Conditions that stay here do not change what the other side sends.
        let asks_anew = parameters_changed && !self.parameters.writers.is_empty();
        if goes_back && !asks_anew {
            if let Some(run) = &mut self.run {
                run.position = 0;
                run.waiting = None;
            }
            return;
        }
        self.end();
        self.parameters.is_fresh = false;
    }

    /// Rows that a modification without RETURNING has changed; once.
    pub fn take_affected(&mut self) -> u64 {
        self.run.as_mut().map_or(0, |run| std::mem::take(&mut run.affected))
    }

    /// What it has asked of the other side.
    pub fn effort(&self) -> &Effort {
        &self.effort
    }

    /// Gives the portal up; the session closes it with its next request.
    pub fn end(&mut self) {
        if let Some(run) = self.run.take() {
            let tickets = [run.bound, run.pending];
            session::forget_portal(&run.slot, run.owner, run.portal, &tickets);
        }
    }
}

/// Whole rows of a join may be of type record, which has no input function: gives
/// them the types of their tables.
///
/// # Safety
/// `plan` is of the running statement; `attributes` are those of its rows.
unsafe fn name_row_types(
    estate: *const pg_sys::EState,
    plan: *const pg_sys::ForeignScan,
    attributes: &mut [Attribute],
) {
    // SAFETY: per the contract; casts follow the tags.
    unsafe {
        for (attribute, entry) in
            attributes.iter_mut().zip(cells::<pg_sys::TargetEntry>((*plan).fdw_scan_tlist))
        {
            let variable = (*entry).expr.cast::<pg_sys::Var>();
            let is_row = attribute.type_oid == pg_sys::RECORDOID
                && (*variable).xpr.type_ == pg_sys::NodeTag::T_Var
                && (*variable).varattno == 0
                && (*variable).varno > 0;
            let entry = if is_row {
                cells::<pg_sys::RangeTblEntry>((*estate).es_range_table)
                    .nth((*variable).varno as usize - 1)
            } else {
                None
            };
            if let Some(entry) = entry {
                attribute.type_oid = pg_sys::get_rel_type_id((*entry).relid);
            }
        }
    }
}

/// # Safety
/// `estate` is a running statement's.
unsafe fn statement_writes(estate: *mut pg_sys::EState) -> bool {
    // SAFETY: per the contract. Checking a changed row again reads no relation.
    unsafe {
        let statement = (*estate).es_plannedstmt;
        (*estate).es_epq_active.is_null()
            && !statement.is_null()
            && ((*statement).commandType != pg_sys::CmdType::CMD_SELECT
                || (*statement).hasModifyingCTE)
    }
}

/// Whether this scan, a direct modification, is all that the transaction does.
unsafe fn is_all(node: *mut pg_sys::ForeignScanState) -> bool {
    // SAFETY: the executor's pointers; a ModifyTable's plan, once its tag says so.
    unsafe {
        let estate = (*node).ss.ps.state;
        let info = (*node).resultRelInfo;
        let root = (*info).ri_RootResultRelInfo;
        session::is_whole_transaction(estate)
            && (*(*(*estate).es_plannedstmt).planTree).lefttree == (*node).ss.ps.plan
            && (*info).ri_TrigDesc.is_null()
            && (root.is_null() || (*root).ri_TrigDesc.is_null())
    }
}

/// Marks the slot filled. A virtual row serves all but system columns.
unsafe fn store(
    slot: *mut pg_sys::TupleTableSlot,
    ctid: Option<pg_sys::ItemPointerData>,
    as_heap_tuple: bool,
    rows: &RowReader,
) {
    // SAFETY: guarded calls; the arrays were filled just now. A formed tuple
    // lives in the rows' context like the values.
    unsafe {
        if as_heap_tuple {
            let _context = crate::backend::ContextGuard::enter(rows.context());
            let tuple = form_tuple(
                (*slot).tts_tupleDescriptor,
                (*slot).tts_values,
                (*slot).tts_isnull,
                ctid,
            );
            pg_sys::ExecForceStoreHeapTuple(tuple, slot, false);
        } else {
            pg_sys::ExecStoreVirtualTuple(slot);
        }
        if let Some(ctid) = ctid {
            (*slot).tts_tid = ctid;
        }
    }
}
