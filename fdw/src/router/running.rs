//! A routed statement that is being run: parameters, then the partition, then
//! either a remote statement or a plan over local leaves.
#![allow(unsafe_code)]

use std::ptr::null_mut;
use std::rc::Rc;

use pgrx::{PgMemoryContexts, pg_sys};

use super::callbacks::RouterScan;
use super::leaf::{over_leaves, remote_sql};
use super::memo::{Known, Memo, version_of};
use super::plan::{is_local, leaf_of};
use super::routed::{Repetition, Violation};
use super::statement_triggers::StatementTriggers;
use crate::backend::{attributes, cells};
use crate::error::{Error, Refusal, SqlState};
use crate::scan::{Effects, Evaluated, ScanState};
use crate::session::{self, Errand, Statement};
use crate::types::{ParameterWriter, RowReader};

/// What the plain-old frame does next.
#[derive(Clone, Copy)]
pub enum Step {
    /// The statement can be asked for rows.
    Ready,
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
    /// Plan this, hand it to [`Running::planned`], step again.
    Plan {
        /// Over local leaves; the planner may change it.
        query: *mut pg_sys::Query,
        /// Values to plan for, or null.
        parameters: pg_sys::ParamListInfo,
    },
    /// Start this, hand it to [`Running::started`], step again.
    Start {
        /// Over local leaves.
        planned: *mut pg_sys::PlannedStmt,
        /// Values to run it with.
        parameters: pg_sys::ParamListInfo,
    },
}

/// How far it has come.
enum Stage {
    New,
    Evaluating,
    /// To be planned over local leaves.
    Unplanned(Local),
    Planned(*mut pg_sys::PlannedStmt),
    Started(*mut pg_sys::QueryDesc),
    Remote {
        scan: Box<ScanState>,
        leaves: Rc<[pg_sys::Oid]>,
        sql: Rc<[u8]>,
        is_started: bool,
    },
}

#[derive(Clone)]
struct Local {
    partition: u32,
    leaves: Rc<[pg_sys::Oid]>,
    version: u64,
}

/// Where a statement is run.
pub enum Place {
    /// Not known yet.
    Unknown,
    /// Here, by a plan of its own.
    Here(*mut pg_sys::QueryDesc),
    /// On the node of these foreign leaves.
    There { leaves: Rc<[pg_sys::Oid]>, sql: Rc<[u8]> },
}

/// State of one router node.
pub struct Running {
    memo: Rc<Memo>,
    parameters: Evaluated,
    types: Vec<pg_sys::Oid>,
    stage: Stage,
    /// Of a statement that is run for each partition, the present one.
    partition: u32,
    /// Keeps the plan over local leaves where it is.
    in_use: Option<Rc<()>>,
}

impl Running {
    /// Makes the state of a node; it lives in the query's context.
    ///
    /// # Safety
    /// `node` is being initialised by the executor.
    pub unsafe fn begin(node: *mut RouterScan) -> Result<(), Error> {
        // SAFETY: the executor's pointers; guarded. Dropping the state does no I/O.
        unsafe {
            let plan: *mut pg_sys::CustomScan = (*node).scan.ss.ps.plan.cast();
            let context = (*(*node).scan.ss.ps.state).es_query_cxt;
            let expressions = (*plan).custom_exprs;
            let state = Running {
                memo: Memo::of(plan),
                parameters: Evaluated::unwritten(node.cast(), expressions, context),
                types: cells::<pg_sys::Node>(expressions).map(|e| pg_sys::exprType(e)).collect(),
                stage: Stage::New,
                partition: 0,
                in_use: None,
            };
            (*node).running = PgMemoryContexts::For(context).leak_and_drop_on_delete(state);
        }
        Ok(())
    }

    /// # Safety
    /// `node` went through [`Running::begin`].
    pub unsafe fn of<'a>(node: *mut RouterScan) -> &'a mut Running {
        // SAFETY: per the contract; the executor runs a node once at a time.
        unsafe { &mut *(*node).running }
    }

    /// Goes on until rows can be asked for, or something is to be done outside.
    ///
    /// # Safety
    /// `node` is this state's; its query's memory context is current.
    pub unsafe fn prepare(&mut self, node: *mut RouterScan) -> Result<Step, Error> {
        match &self.stage {
            Stage::New => {
                self.stage = Stage::Evaluating;
                Ok(Step::Evaluate {
                    expressions: self.parameters.expressions,
                    values: self.parameters.values,
                    nulls: self.parameters.nulls,
                    count: self.types.len(),
                })
            }
            Stage::Evaluating => {
                // SAFETY: per the contract; the parameters have been evaluated.
                unsafe { self.choose(node)? };
                // SAFETY: as above; the stage is a later one now.
                unsafe { self.prepare(node) }
            }
            Stage::Unplanned(local) => {
                let private = &self.memo.private;
                // SAFETY: the plan's query; guarded.
                let query = unsafe { over_leaves(private.query, &private.parents, &local.leaves) };
                let parameters =
                    if private.is_for_values { self.parameter_list() } else { null_mut() };
                Ok(Step::Plan { query, parameters })
            }
            Stage::Planned(planned) => {
                Ok(Step::Start { planned: *planned, parameters: self.parameter_list() })
            }
            Stage::Started(_) | Stage::Remote { .. } => Ok(Step::Ready),
        }
    }

    /// Finds the partition and what is known of it.
    unsafe fn choose(&mut self, node: *mut RouterScan) -> Result<(), Error> {
        let memo = self.memo.clone();
        if self.partition == 0 {
            memo.executions.set(memo.executions.get() + 1);
        }
        for check in &memo.private.checks {
            // SAFETY: an evaluated boolean for each.
            let is_true = unsafe {
                !*self.parameters.nulls.add(check.parameter)
                    && (*self.parameters.values.add(check.parameter)).value() != 0
            };
            if !is_true {
                return Err(violated(&check.violation));
            }
        }
        // SAFETY: per the callers' contracts.
        let partition = match memo.private.repetition {
            // SAFETY: as above.
            Repetition::Once => unsafe {
                memo.partition(self.parameters.values, self.parameters.nulls)
            },
            Repetition::EachPartition(parameter) => {
                if let Some(parameter) = parameter {
                    let number = pg_sys::Datum::from(self.partition as i32);
                    // SAFETY: an int4 that was evaluated with the others.
                    unsafe { *self.parameters.values.add(parameter) = number };
                }
                self.partition
            }
        };
        let known = match memo.known(partition) {
            Some(known) => known,
            None => {
                // SAFETY: as above.
                let known = unsafe { self.look_at(node, partition)? };
                memo.learn(partition, known.clone());
                known
            }
        };
        self.stage = match known {
            Known::Remote { leaves, statement } => {
                // SAFETY: as above.
                unsafe { self.remote(node, leaves, statement) }
            }
            Known::Local { leaves, plan } => {
                lock(&memo.private.modes, &leaves);
                let version = version_of(&leaves);
                match plan {
                    Some(plan) if plan.version == version => {
                        self.in_use = Some(plan.in_use.clone());
                        Stage::Planned(plan.planned)
                    }
                    _ => Stage::Unplanned(Local { partition, leaves, version }),
                }
            }
        };
        Ok(())
    }

    unsafe fn look_at(&self, node: *mut RouterScan, partition: u32) -> Result<Known, Error> {
        let private = &self.memo.private;
        let leaves: Rc<[pg_sys::Oid]> = private
            .parents
            .iter()
            // SAFETY: the plan's parents are locked.
            .map(|parent| unsafe { leaf_of(*parent, partition) })
            .collect::<Result<_, _>>()?;
        let here = leaves.iter().filter(|leaf| is_local(**leaf)).count();
        if here == leaves.len() {
            return Ok(Known::Local { leaves, plan: None });
        }
        if here > 0 {
            return Err(Refusal::internal("partitions of one group are on different nodes").into());
        }
        // SAFETY: the plan's query and the node's own slot; guarded.
        unsafe {
            let sql = remote_sql(private.query, &private.parents, &leaves);
            let context = (*(*node).scan.ss.ps.state).es_query_cxt;
            let writers: Vec<ParameterWriter> =
                self.types.iter().map(|t| ParameterWriter::new(*t, context)).collect();
            let statement = Statement {
                sql: sql.into(),
                types: writers.iter().map(ParameterWriter::type_oid).collect(),
                parameter_formats: writers.iter().map(|w| w.format().code()).collect(),
                result_formats: reader(node).formats().into(),
                is_kept: true,
            };
            Ok(Known::Remote { leaves, statement })
        }
    }

    unsafe fn remote(
        &mut self,
        node: *mut RouterScan,
        leaves: Rc<[pg_sys::Oid]>,
        statement: Statement,
    ) -> Stage {
        // SAFETY: the executor's pointers.
        unsafe {
            let plan: *mut pg_sys::CustomScan = (*node).scan.ss.ps.plan.cast();
            let estate = (*node).scan.ss.ps.state;
            let whole = (*estate).es_plannedstmt;
            let writes = (*whole).commandType != pg_sys::CmdType::CMD_SELECT;
            let effects = Effects { writes, may_lock: writes || !(*whole).rowMarks.is_null() };
            let mut parameters =
                Evaluated { writers: Vec::new(), wire: Vec::new(), ..self.parameters };
            parameters.add_writers((*plan).custom_exprs, (*estate).es_query_cxt);
            let sql = statement.sql.clone();
            // Prepared anew over there when a leaf's definition changes.
            session::note_relations(&leaves);
            let scan = ScanState::of_statement(
                statement,
                leaves.to_vec(),
                reader(node),
                parameters,
                effects,
            );
            Stage::Remote { scan: Box::new(scan), leaves, sql, is_started: false }
        }
    }

    /// Takes the plan over local leaves. It is kept if the statement's own plan
    /// is: that shows when it is run again.
    ///
    /// # Safety
    /// `planned` was made for the last [`Step::Plan`].
    pub unsafe fn planned(&mut self, planned: *mut pg_sys::PlannedStmt) -> Result<(), Error> {
        let Stage::Unplanned(local) = &self.stage else { return Err(out_of_order()) };
        let local = local.clone();
        let mut planned = planned;
        if self.memo.executions.get() > 1 {
            let Local { partition, leaves, version } = local;
            // SAFETY: per the contract.
            let plan = unsafe { self.memo.keep(partition, leaves, planned, version) };
            planned = plan.planned;
            self.in_use = Some(plan.in_use);
        }
        self.stage = Stage::Planned(planned);
        Ok(())
    }

    /// Takes the started plan.
    pub fn started(&mut self, query: *mut pg_sys::QueryDesc) {
        self.stage = Stage::Started(query);
    }

    /// Whether rows can be asked for.
    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Started(_) | Stage::Remote { .. })
    }

    /// The plan over local leaves, if it is run here; null otherwise.
    pub fn local(&self) -> *mut pg_sys::QueryDesc {
        match &self.stage {
            Stage::Started(query) => *query,
            _ => null_mut(),
        }
    }

    /// Where it is run.
    pub fn place(&self) -> Place {
        match &self.stage {
            Stage::Started(query) => Place::Here(*query),
            Stage::Remote { leaves, sql, .. } => {
                Place::There { leaves: leaves.clone(), sql: sql.clone() }
            }
            _ => Place::Unknown,
        }
    }

    /// Has a cursor's remote statement see what is there now, not what is there when
    /// it is first read from.
    ///
    /// # Safety
    /// It has been prepared.
    pub unsafe fn bind(&mut self) -> Result<(), Error> {
        if let Stage::Remote { scan, is_started, .. } = &mut self.stage {
            *is_started = true;
            // SAFETY: per the contract: its parameters have been evaluated.
            unsafe { scan.bind()? };
        }
        Ok(())
    }

    /// Puts the next row of a remote statement into the node's slot, or leaves it
    /// empty at the end, and counts what was changed.
    ///
    /// # Safety
    /// `node` is this state's.
    pub unsafe fn fetch(&mut self, node: *mut RouterScan) -> Result<(), Error> {
        let Stage::Remote { scan, is_started, .. } = &mut self.stage else {
            return Err(out_of_order());
        };
        // SAFETY: the executor's pointers; the parameters live in the query's context.
        unsafe {
            let estate = (*node).scan.ss.ps.state;
            let whole = (*estate).es_plannedstmt;
            let writes = (*whole).commandType != pg_sys::CmdType::CMD_SELECT;
            if !*is_started {
                *is_started = true;
                let is_alone = self.memo.private.repetition == Repetition::Once
                    && !self.memo.private.triggers.fire();
                let errand = if writes {
                    (is_alone && session::is_whole_transaction(estate)).then_some(Errand::Write)
                } else {
                    session::reads_alone(estate).then_some(Errand::Read)
                };
                scan.start(errand)?;
            }
            let slot = (*node).scan.ss.ss_ScanTupleSlot;
            scan.fill(slot)?;
            if writes && (*whole).canSetTag {
                let is_empty = (*slot).tts_flags as u32 & pg_sys::TTS_FLAG_EMPTY != 0;
                (*estate).es_processed += match ((*whole).hasReturning, is_empty) {
                    (true, is_empty) => u64::from(!is_empty),
                    (false, true) => scan.take_affected(),
                    (false, false) => 0,
                };
            }
        }
        Ok(())
    }

    /// What is fired around it.
    pub fn triggers(&self) -> StatementTriggers {
        self.memo.private.triggers
    }

    /// For how many partitions it is run, if that is more than what its key says.
    pub fn partitions(&self) -> Option<u32> {
        let private = &self.memo.private;
        (private.repetition != Repetition::Once).then_some(private.modulus)
    }

    /// At the end of what was run for one partition: turns to the next one, if there
    /// is one for this statement.
    pub fn advance(&mut self) -> bool {
        let private = &self.memo.private;
        let is_last = self.partition + 1 >= private.modulus;
        if private.repetition == Repetition::Once || is_last {
            return false;
        }
        self.end();
        self.partition += 1;
        self.stage = Stage::Evaluating;
        true
    }

    /// Closes what is open on another node.
    pub fn end(&mut self) {
        if let Stage::Remote { scan, .. } = &mut self.stage {
            scan.end();
        }
    }

    fn parameter_list(&self) -> pg_sys::ParamListInfo {
        if self.types.is_empty() {
            return null_mut();
        }
        // SAFETY: guarded; an array of that many entries follows the header.
        unsafe {
            let list = pg_sys::makeParamList(self.types.len() as i32);
            let entries = (*list).params.as_mut_ptr();
            for (i, ptype) in self.types.iter().enumerate() {
                *entries.add(i) = pg_sys::ParamExternData {
                    value: *self.parameters.values.add(i),
                    isnull: *self.parameters.nulls.add(i),
                    pflags: pg_sys::PARAM_FLAG_CONST as u16,
                    ptype: *ptype,
                };
            }
            list
        }
    }
}

/// Reads the node's rows: its output columns, in order.
unsafe fn reader(node: *mut RouterScan) -> RowReader {
    // SAFETY: the executor's pointers; guarded.
    unsafe {
        let descriptor = (*(*node).scan.ss.ss_ScanTupleSlot).tts_tupleDescriptor;
        let natts = (*descriptor).natts as usize;
        let columns: Vec<i32> = (1..=natts as i32).collect();
        let context = (*(*node).scan.ss.ps.state).es_query_cxt;
        RowReader::new(&attributes(descriptor), &columns, natts, context)
    }
}

/// Locks the leaves as the statement locks their parents.
fn lock(modes: &[i32], leaves: &[pg_sys::Oid]) {
    for (mode, leaf) in modes.iter().zip(leaves) {
        // SAFETY: guarded.
        unsafe { pg_sys::LockRelationOid(*leaf, *mode) };
    }
}

fn violated(violation: &Violation) -> Error {
    let Violation { relation, policy } = violation;
    let policy = policy.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let message =
        format!("new row violates row-level security policy{policy} for table \"{relation}\"");
    Refusal::new(SqlState::INSUFFICIENT_PRIVILEGE, message).into()
}

fn out_of_order() -> Error {
    Refusal::internal("a routed statement was run out of order").into()
}
