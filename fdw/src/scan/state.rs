//! A running scan: one named portal, fetched in chunks that grow, the next one
//! asked for while the present one is consumed.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::{PgMemoryContexts, pg_sys};

use super::ScanPrivate;
use crate::backend::{attributes, cells, form_tuple};
use crate::compat;
use crate::error::{Error, Refusal, SqlState};
use crate::placement::Placement;
use crate::session::{self, Request, Slot, Statement};
use crate::transport::{RowBuffer, Ticket};
use crate::types::{EncodingGuard, Format, ParameterWriter, RowReader, TransmissionModes};

/// Rows of the first chunk: a point query needs no more, a LIMIT wastes little.
const FIRST_ROWS: i32 = 100;
/// What later chunks aim at.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Bounds of the rows in a chunk.
const MAX_ROWS: usize = 100_000;

/// What the caller's frame does next.
#[derive(Clone, Copy)]
pub enum Step {
    /// The scan slot holds the row, or is empty at the end.
    Slot,
    /// Evaluate the parameters, then step again.
    Evaluate {
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

/// State of one scan node.
pub struct ScanState {
    relid: pg_sys::Oid,
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
    run: Option<Run>,
}

struct Evaluated {
    writers: Vec<ParameterWriter>,
    expressions: *mut *mut pg_sys::ExprState,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
    is_fresh: bool,
    wire: Vec<u8>,
}

/// A portal that was opened.
struct Run {
    slot: Rc<Slot>,
    /// Session and transaction that the portal belongs to.
    owner: (u64, u64),
    portal: String,
    pending: Option<Ticket>,
    chunk: RowBuffer,
    position: usize,
    chunks: u32,
    /// The portal has no more than the present chunk.
    is_exhausted: bool,
    /// Rows that a modification without RETURNING has changed.
    affected: u64,
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
            let relation = (*node).ss.ss_currentRelation;
            let descriptor = (*relation).rd_att;
            let attributes = attributes(descriptor);
            let natts = (*descriptor).natts as usize;
            let rows = RowReader::new(&attributes, &private.columns, natts, context);
            let parameters = Evaluated::new(node, (*plan).fdw_exprs, context);
            let rte = pg_sys::list_nth((*estate).es_range_table, (*plan).scan.scanrelid as i32 - 1);
            let as_user = compat::check_as_user(rte.cast());
            let user = if as_user == pg_sys::InvalidOid { pg_sys::GetUserId() } else { as_user };
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
            let state = ScanState {
                may_lock,
                writes: (*plan).operation != pg_sys::CmdType::CMD_SELECT,
                relid: (*relation).rd_id,
                user,
                statement,
                rows,
                needs_heap_tuples: private.needs_heap_tuples,
                fetch_size: private.fetch_size,
                parameters,
                run: None,
            };
            let mut home = PgMemoryContexts::For(context);
            (*node).fdw_state = home.leak_and_drop_on_delete(state).cast();
        }
        Ok(())
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
        if self.run.is_none() {
            let p = &mut self.parameters;
            if !p.writers.is_empty() && !p.is_fresh {
                p.is_fresh = true;
                return Ok(Step::Evaluate {
                    expressions: p.expressions,
                    values: p.values,
                    nulls: p.nulls,
                    count: p.writers.len(),
                });
            }
            // SAFETY: the caller's frame has evaluated what was asked for.
            unsafe { self.parameters.encode() };
            // SAFETY: the executor's pointers.
            let flies = self.writes && unsafe { is_all(node) };
            let run = if flies { self.open_and_commit()? } else { None };
            self.run = Some(match run {
                Some(run) => run,
                None => self.open()?,
            });
        }
        let Some(run) = &mut self.run else {
            return Err(Refusal::internal("a foreign scan has no portal").into());
        };
        // SAFETY: the scan slot belongs to the node.
        let slot = unsafe { (*node).ss.ss_ScanTupleSlot };
        loop {
            if let Some(body) = run.chunk.next_row(&mut run.position) {
                // SAFETY: the slot's arrays have natts entries; clearing it ends
                // the use of the former row.
                unsafe {
                    pg_sys::ExecClearTuple(slot);
                    let ctid = self.rows.read(body, (*slot).tts_values, (*slot).tts_isnull)?;
                    store(slot, ctid, self.needs_heap_tuples, &self.rows);
                }
                return Ok(Step::Slot);
            }
            if run.is_exhausted {
                // SAFETY: guarded.
                unsafe { pg_sys::ExecClearTuple(slot) };
                return Ok(Step::Slot);
            }
            run.fetch(&self.statement, self.fetch_size)?;
        }
    }

    /// A modification that is the whole transaction, in one round trip.
    fn open_and_commit(&self) -> Result<Option<Run>, Error> {
        let slot = session::acquire(Placement::of(self.relid)?.target(self.user))?;
        let request = Request {
            statement: &self.statement,
            parameters: &self.parameters.wire,
            portal: "",
            max_rows: 0,
        };
        Ok(slot.send_and_commit(&request)?.map(|reply| Run {
            slot,
            // Of no transaction that could still be there.
            owner: (0, 0),
            portal: String::new(),
            pending: None,
            affected: reply.affected(),
            chunk: reply.rows,
            position: 0,
            chunks: 1,
            is_exhausted: true,
        }))
    }

    fn open(&self) -> Result<Run, Error> {
        let target = Placement::of(self.relid)?.target(self.user);
        let slot = session::acquire(target)?;
        let first = if self.fetch_size > 0 { FIRST_ROWS.min(self.fetch_size) } else { FIRST_ROWS };
        let (owner, portal) = {
            let mut session = slot.enter()?;
            session.holds |= self.may_lock;
            session.wrote |= self.writes;
            ((session.id, session.transaction), session.new_portal())
        };
        let request = Request {
            statement: &self.statement,
            parameters: &self.parameters.wire,
            portal: &portal,
            max_rows: first,
        };
        let pending = Some(slot.send(&request)?);
        Ok(Run {
            slot,
            owner,
            portal,
            pending,
            chunk: RowBuffer::default(),
            position: 0,
            chunks: 0,
            is_exhausted: false,
            affected: 0,
        })
    }

    /// Back to the first row. A scan whose rows are all in the first chunk, or
    /// that has not gone past it, needs nothing from the other side.
    pub fn rescan(&mut self, parameters_changed: bool) {
        let goes_back = self.run.as_ref().is_some_and(|r| r.chunks <= 1);
        if goes_back && !parameters_changed {
            if let Some(run) = &mut self.run {
                run.position = 0;
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

    /// Gives the portal up; the session closes it with its next request.
    pub fn end(&mut self) {
        if let Some(run) = self.run.take() {
            session::forget_portal(&run.slot, run.owner, run.portal, run.pending);
        }
    }
}

impl Run {
    /// Makes the next chunk the present one.
    fn fetch(&mut self, statement: &Statement, fetch_size: i32) -> Result<(), Error> {
        let ticket = match self.pending.take() {
            Some(ticket) => ticket,
            None => self.ask(self.next_size(fetch_size))?,
        };
        self.check_owner()?;
        let reply = session::collect(&self.slot, ticket, &statement.text())?;
        self.is_exhausted = !reply.suspended;
        self.affected = reply.affected();
        self.chunk = reply.rows;
        self.position = 0;
        self.chunks += 1;
        if !self.is_exhausted && self.chunks >= 2 {
            self.pending = Some(self.ask(self.next_size(fetch_size))?);
        }
        Ok(())
    }

    fn ask(&self, rows: i32) -> Result<Ticket, Error> {
        self.check_owner()?;
        // Entering mirrors a savepoint set since: an error must not reach past it.
        self.slot.enter()?.continue_portal(&self.portal, rows)
    }

    fn check_owner(&self) -> Result<(), Error> {
        let session = self.slot.try_lease()?;
        match session {
            Some(session) if (session.id, session.transaction) == self.owner => Ok(()),
            _ => Err(Refusal::new(
                SqlState::CONNECTION_FAILURE,
                "the remote transaction that a scan was reading in has ended",
            )
            .into()),
        }
    }

    fn next_size(&self, fetch_size: i32) -> i32 {
        let average = self.chunk.byte_len() / self.chunk.len().max(1);
        let rows = (CHUNK_BYTES / average.max(1)).clamp(FIRST_ROWS as usize, MAX_ROWS);
        let rows = rows.min((self.chunk.len() * 20).max(FIRST_ROWS as usize)) as i32;
        if fetch_size > 0 { rows.min(fetch_size) } else { rows }
    }
}

impl Evaluated {
    unsafe fn new(
        node: *mut pg_sys::ForeignScanState,
        expressions: *mut pg_sys::List,
        context: pg_sys::MemoryContext,
    ) -> Evaluated {
        // SAFETY: guarded; arrays of the list's length in the query's context.
        unsafe {
            let writers: Vec<ParameterWriter> = cells::<pg_sys::Node>(expressions)
                .map(|e| ParameterWriter::new(pg_sys::exprType(e), context))
                .collect();
            let states: Vec<*mut pg_sys::ExprState> =
                cells(pg_sys::ExecInitExprList(expressions, node.cast())).collect();
            let n = states.len().max(1);
            let allocate = |size: usize| pg_sys::MemoryContextAllocZero(context, n * size);
            let array: *mut *mut pg_sys::ExprState = allocate(size_of::<usize>()).cast();
            for (i, state) in states.iter().enumerate() {
                *array.add(i) = *state;
            }
            Evaluated {
                writers,
                expressions: array,
                values: allocate(size_of::<pg_sys::Datum>()).cast(),
                nulls: allocate(size_of::<bool>()).cast(),
                is_fresh: false,
                wire: Vec::new(),
            }
        }
    }

    /// # Safety
    /// The values have been evaluated and still live.
    unsafe fn encode(&mut self) {
        self.wire.clear();
        if self.writers.is_empty() {
            return;
        }
        let modes = self
            .writers
            .iter()
            .any(|w| w.format() == Format::Text)
            .then(|| TransmissionModes::enter(None));
        {
            let _encoding = EncodingGuard::enter();
            for (i, writer) in self.writers.iter_mut().enumerate() {
                // SAFETY: per the contract; arrays have an entry per writer.
                unsafe {
                    writer.write(*self.values.add(i), *self.nulls.add(i), &mut self.wire);
                }
            }
        }
        if let Some(modes) = modes {
            modes.leave();
        }
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
