//! A running modification of one foreign relation.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::pg_sys::CmdType;
use pgrx::{PgMemoryContexts, pg_sys};

use super::buffer::{Buffer, InFlight};
use super::private::ModifyPrivate;
use super::returning::Returning;
use crate::backend::{Attribute, attributes};
use crate::compat;
use crate::deparse::{delete_statement, insert_statement, update_statement};
use crate::error::Error;
use crate::options;
use crate::placement::{Placement, RemoteRelation};
use crate::session::{self, Errand, Request, Slot, Statement};
use crate::transport::{Reply, Ticket};
use crate::types::{EncodingGuard, Format, ParameterWriter, TransmissionModes};

/// Rows of one INSERT unless an option says otherwise.
const BATCH_SIZE: usize = 1000;
/// The protocol's bound.
const MAX_PARAMETERS: usize = 65535;

/// `ri_FdwState` of a foreign result relation.
pub struct ModifyState {
    /// Where it goes.
    pub slot: Rc<Slot>,
    operation: CmdType::Type,
    relation: RemoteRelation,
    targets: Vec<Attribute>,
    returning_names: Vec<Vec<u8>>,
    does_nothing_on_conflict: bool,
    /// One per parameter of a row: not for generated columns.
    writers: Vec<(i16, ParameterWriter)>,
    has_text_parameters: bool,
    /// Of the junk column in the plan's rows, and its writer.
    ctid: Option<(i16, ParameterWriter)>,
    /// Set if rows come back.
    pub returning: Option<Returning>,
    /// Rows of one INSERT, at most.
    pub batch_size: usize,
    /// Set for COPY: rows are collected here.
    pub buffer: Option<Buffer>,
    /// The answer of a batch is waited for only before the next one: nobody
    /// looks at the rows before `EndForeignInsert`, and all of them count.
    pub sends_ahead: bool,
    /// The batch that is on its way.
    pub in_flight: Option<InFlight>,
    /// Set if one row is all that the statement writes: its executor's state.
    pub sole_row_of: *mut pg_sys::EState,
    one_row: Statement,
    full_batch: Option<Statement>,
    /// Parameters of the request being composed.
    wire: Vec<u8>,
}

/// What a modification does.
pub struct Shape {
    /// INSERT, UPDATE or DELETE.
    pub operation: CmdType::Type,
    /// Columns there and back.
    pub private: ModifyPrivate,
    /// The executor's relation.
    pub relation: pg_sys::Relation,
    /// The range table entry that decides the user.
    pub rte: *const pg_sys::RangeTblEntry,
    /// Number of the ctid column in the plan's rows, for UPDATE and DELETE.
    pub ctid: Option<i16>,
    /// Lives as long as the statement.
    pub context: pg_sys::MemoryContext,
    /// Collect rows as for COPY.
    pub is_buffered: bool,
}

impl ModifyState {
    /// Makes the state in the statement's context; opens the session.
    ///
    /// # Safety
    /// The pointers in `shape` are the executor's.
    pub unsafe fn create(shape: Shape) -> Result<*mut ModifyState, Error> {
        // SAFETY: the executor's pointers; guarded calls. The state is dropped
        // with the context, and dropping it does no I/O.
        unsafe {
            let relid = (*shape.relation).rd_id;
            let descriptor = (*shape.relation).rd_att;
            let all = attributes(descriptor);
            let placement = Placement::of(relid)?;
            let as_user = compat::check_as_user(shape.rte);
            let user = if as_user == pg_sys::InvalidOid { pg_sys::GetUserId() } else { as_user };
            let slot = session::acquire(placement.target(user))?;
            let relation = RemoteRelation::of(relid, placement);
            let private = shape.private;
            let targets: Vec<Attribute> = all
                .iter()
                .filter(|a| private.targets.contains(&i32::from(a.number)))
                .cloned()
                .collect();
            let writers: Vec<(i16, ParameterWriter)> = targets
                .iter()
                .filter(|a| !a.is_generated)
                .map(|a| (a.number, ParameterWriter::new(a.type_oid, shape.context)))
                .collect();
            let returning = (!private.returning.is_empty())
                .then(|| Returning::new(&all, &private.returning, descriptor, shape.context));
            let mut state = ModifyState {
                slot,
                operation: shape.operation,
                returning_names: private
                    .returning
                    .iter()
                    .map(|n| relation.column_by_number(&all, *n))
                    .collect(),
                relation,
                targets,
                does_nothing_on_conflict: private.does_nothing_on_conflict,
                has_text_parameters: writers.iter().any(|(_, w)| w.format() == Format::Text),
                batch_size: batch_size(relid, writers.len()),
                writers,
                ctid: shape.ctid.map(|n| (n, ParameterWriter::new(pg_sys::TIDOID, shape.context))),
                returning,
                buffer: shape.is_buffered.then(Buffer::default),
                sends_ahead: false,
                in_flight: None,
                sole_row_of: std::ptr::null_mut(),
                one_row: Statement {
                    sql: Rc::new([]),
                    types: Rc::new([]),
                    parameter_formats: Rc::new([]),
                    result_formats: Rc::new([]),
                    is_kept: true,
                },
                full_batch: None,
                wire: Vec::new(),
            };
            state.one_row = state.statement(1, true);
            let mut home = PgMemoryContexts::For(shape.context);
            Ok(home.leak_and_drop_on_delete(state))
        }
    }

    /// # Safety
    /// `info` has a state of this kind, and its owner calls one at a time.
    pub unsafe fn of<'a>(info: *mut pg_sys::ResultRelInfo) -> Option<&'a mut ModifyState> {
        // SAFETY: per the contract; null under EXPLAIN.
        unsafe { (*info).ri_FdwState.cast::<ModifyState>().as_mut() }
    }

    /// The SQL for `rows` rows.
    pub fn sql(&self, rows: usize) -> Vec<u8> {
        let returning = &self.returning_names;
        match self.operation {
            CmdType::CMD_UPDATE => update_statement(&self.relation, &self.targets, returning),
            CmdType::CMD_DELETE => delete_statement(&self.relation, returning),
            _ => insert_statement(
                &self.relation,
                &self.targets,
                rows,
                self.does_nothing_on_conflict,
                returning,
            ),
        }
    }

    fn statement(&self, rows: usize, is_kept: bool) -> Statement {
        let ctid = || self.ctid.iter().map(|(_, w)| w);
        let row = || self.writers.iter().map(|(_, w)| w);
        let all = || ctid().chain((0..rows).flat_map(|_| row()));
        Statement {
            sql: self.sql(rows).into(),
            types: all().map(ParameterWriter::type_oid).collect(),
            parameter_formats: all().map(|w| w.format().code()).collect(),
            result_formats: self.returning.as_ref().map_or(Vec::new(), Returning::formats).into(),
            is_kept,
        }
    }

    /// Appends a row's parameters to `wire`.
    ///
    /// # Safety
    /// `row` is a filled slot of the relation (unused for DELETE), `plan_row`
    /// one of the plan if there is a ctid.
    pub unsafe fn compose(
        &mut self,
        row: *mut pg_sys::TupleTableSlot,
        plan_row: *mut pg_sys::TupleTableSlot,
    ) -> Result<(), Error> {
        let _encoding = EncodingGuard::enter();
        if let Some((number, writer)) = &mut self.ctid {
            let mut is_null = false;
            // SAFETY: guarded; the junk column exists in the plan's rows.
            unsafe {
                let datum = pg_sys::slot_getattr(plan_row, i32::from(*number), &raw mut is_null);
                if is_null {
                    return Err(crate::error::Refusal::internal("ctid is null").into());
                }
                writer.write(datum, false, &mut self.wire);
            }
        }
        if self.writers.is_empty() {
            return Ok(());
        }
        let modes = self.has_text_parameters.then(|| TransmissionModes::enter(None));
        // SAFETY: guarded; afterwards the arrays hold all attributes.
        unsafe {
            pg_sys::slot_getallattrs(row);
            for (number, writer) in &mut self.writers {
                let at = *number as usize - 1;
                let (value, is_null) = (*(*row).tts_values.add(at), *(*row).tts_isnull.add(at));
                writer.write(value, is_null, &mut self.wire);
            }
        }
        if let Some(modes) = modes {
            modes.leave();
        }
        Ok(())
    }

    /// Bytes composed and not sent.
    pub fn composed(&self) -> usize {
        self.wire.len()
    }

    /// Sends what was composed, `rows` rows.
    pub fn send(&mut self, rows: usize) -> Result<(Ticket, Statement), Error> {
        let statement = if rows == 1 {
            self.one_row.clone()
        } else if rows == self.batch_size {
            match &self.full_batch {
                Some(statement) => statement.clone(),
                None => {
                    let statement = self.statement(rows, true);
                    self.full_batch = Some(statement.clone());
                    statement
                }
            }
        } else {
            self.statement(rows, false)
        };
        let request =
            Request { statement: &statement, parameters: &self.wire, portal: "", max_rows: 0 };
        let sent = self.slot.send_write(&request);
        self.wire.clear();
        Ok((sent?, statement))
    }

    /// Sends what was composed and waits for the answer.
    pub fn execute(&mut self, rows: usize) -> Result<Reply, Error> {
        let estate = self.sole_row_of;
        // SAFETY: set by `begin` to the state of the statement that runs.
        if rows == 1 && !estate.is_null() && unsafe { session::is_whole_transaction(estate) } {
            let request = Request {
                statement: &self.one_row,
                parameters: &self.wire,
                portal: "",
                max_rows: 0,
            };
            if let Some(reply) = self.slot.run_alone(&request, Errand::Write)? {
                self.wire.clear();
                return Ok(reply);
            }
        }
        let (ticket, statement) = self.send(rows)?;
        session::collect(&self.slot, ticket, &statement)
    }
}

/// Rows of one INSERT for a relation whose rows take `parameters` each.
pub fn batch_size(relid: pg_sys::Oid, parameters: usize) -> usize {
    let (server, own) = options::table_options(relid);
    let options = own.or(options::server_options(server));
    let wanted = options.get_number("batch_size").unwrap_or(BATCH_SIZE);
    wanted.min(MAX_PARAMETERS / parameters.max(1)).max(1)
}
