//! A running modification of one foreign relation.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::pg_sys::CmdType;
use pgrx::{PgMemoryContexts, pg_sys};

use super::buffer::{self, Buffer, InFlight};
use super::conflict::{self, Conflict};
use super::copy::CopyIn;
use super::private::ModifyPrivate;
use super::returning::Returning;
use crate::backend::{Attribute, attributes, bytes_of};
use crate::compat;
use crate::deparse::{copy_statement, delete_statement, insert_statement, update_statement};
use crate::error::Error;
use crate::options;
use crate::placement::{Placement, RemoteRelation};
use crate::session::{self, Errand, Request, Slot, Statement, Target};
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
    /// INSERT, UPDATE or DELETE.
    pub operation: CmdType::Type,
    /// The executor's node; null for INSERT.
    pub node: *mut pg_sys::ModifyTableState,
    /// Of a partition that is updated, and to which rows of others move: its
    /// INSERT. Null until the first comes.
    pub incoming: *mut ModifyState,
    relation: RemoteRelation,
    targets: Vec<Attribute>,
    returning_names: Vec<Vec<u8>>,
    conflict: Conflict,
    /// Whose statement it is; null but for INSERT.
    estate: *mut pg_sys::EState,
    /// One per parameter of a row: not for generated columns.
    writers: Vec<(i16, ParameterWriter)>,
    has_text_parameters: bool,
    /// Of the junk column in the plan's rows, and its writer.
    ctid: Option<(i16, ParameterWriter)>,
    /// Set if rows come back.
    pub returning: Option<Returning>,
    /// Rows of one INSERT, at most.
    pub batch_size: usize,
    /// Set if rows are collected: nobody looks at them before
    /// `EndForeignInsert`, and all of them count.
    pub buffer: Option<Buffer>,
    /// The rows that are on their way.
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
    /// The executor's node of an UPDATE or DELETE; null for INSERT.
    pub node: *mut pg_sys::ModifyTableState,
    /// Columns there and back.
    pub private: ModifyPrivate,
    /// Of an INSERT.
    pub conflict: Conflict,
    /// The statement's, of an INSERT; null otherwise.
    pub estate: *mut pg_sys::EState,
    /// The executor's relation.
    pub relation: pg_sys::Relation,
    /// The range table entry that decides the user.
    pub rte: *const pg_sys::RangeTblEntry,
    /// Number of the ctid column in the plan's rows, for UPDATE and DELETE.
    pub ctid: Option<i16>,
    /// Lives as long as the statement.
    pub context: pg_sys::MemoryContext,
    /// Collect rows, for whom.
    pub buffered_for: Option<Collector>,
}

/// Whose rows are collected.
pub struct Collector {
    /// The statement's.
    pub estate: *mut pg_sys::EState,
    /// The table that COPY names; `None` for INSERT.
    pub copied_table: Option<Vec<u8>>,
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
            let is_to_node = matches!(slot.target, Target::Node(_));
            let buffer = match &shape.buffered_for {
                Some(collector) if is_to_node && !writers.is_empty() => {
                    let formats = writers.iter().map(|(_, w)| w.format());
                    let is_binary = formats.clone().all(|f| f == Format::Binary);
                    let command = copy_statement(&relation, &targets, is_binary);
                    let name = bytes_of(pg_sys::get_rel_name(relid));
                    let copy = if is_binary {
                        CopyIn::binary(command, name, writers.len())
                    } else {
                        let text = targets
                            .iter()
                            .filter(|a| !a.is_generated)
                            .map(|a| (a.number, ParameterWriter::text(a.type_oid, shape.context)));
                        CopyIn::text(command, name, text.collect())
                    };
                    Some(Buffer::new(Some(match &collector.copied_table {
                        Some(table) => copy.reporting_rows_of(table.clone()),
                        None => copy,
                    })))
                }
                // INSERT by ModifyTable hands over batches itself.
                Some(Collector { copied_table: Some(_), .. }) => Some(Buffer::new(None)),
                _ => None,
            };
            let is_holder = buffer.is_some();
            let returning = (!private.returning.is_empty())
                .then(|| Returning::new(&all, &private.returning, descriptor, shape.context));
            let mut state = ModifyState {
                slot,
                operation: shape.operation,
                node: shape.node,
                incoming: std::ptr::null_mut(),
                returning_names: private
                    .returning
                    .iter()
                    .map(|n| relation.column_by_number(&all, *n))
                    .collect(),
                relation,
                targets,
                conflict: shape.conflict,
                estate: shape.estate,
                has_text_parameters: writers.iter().any(|(_, w)| w.format() == Format::Text),
                batch_size: batch_size(relid, writers.len()),
                writers,
                ctid: shape.ctid.map(|n| (n, ParameterWriter::new(pg_sys::TIDOID, shape.context))),
                returning,
                buffer,
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
            let state = home.leak_and_drop_on_delete(state);
            if let Some(collector) = shape.buffered_for
                && is_holder
            {
                buffer::hold(state, collector.estate);
            }
            Ok(state)
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
            _ => {
                insert_statement(&self.relation, &self.targets, rows, &self.conflict.on, returning)
            }
        }
    }

    fn statement(&self, rows: usize, is_kept: bool) -> Statement {
        let clause = || self.conflict.parameters.iter();
        let ctid = || self.ctid.iter().map(|(_, w)| w);
        let row = || self.writers.iter().map(|(_, w)| w);
        let all = || ctid().chain((0..rows).flat_map(|_| row()));
        Statement {
            sql: self.sql(rows).into(),
            types: clause().map(|(t, _)| *t).chain(all().map(ParameterWriter::type_oid)).collect(),
            parameter_formats: clause()
                .map(|(_, f)| f.code())
                .chain(all().map(|w| w.format().code()))
                .collect(),
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
        if self.wire.is_empty() {
            self.wire.extend(&self.conflict.wire);
        }
        // SAFETY: per the contract.
        unsafe { self.compose_ctid(plan_row)? };
        if self.writers.is_empty() {
            return Ok(());
        }
        if let Some(Buffer { copy: Some(copy), .. }) = &mut self.buffer {
            // SAFETY: guarded; afterwards the arrays hold all attributes.
            let goes_on = unsafe {
                pg_sys::slot_getallattrs(row);
                copy.begin_row((*row).tts_values, (*row).tts_isnull, &mut self.wire)
            };
            if !goes_on {
                return Ok(());
            }
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

    unsafe fn compose_ctid(&mut self, plan_row: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        let Some((number, writer)) = &mut self.ctid else { return Ok(()) };
        let mut is_null = false;
        // SAFETY: guarded; the junk column exists in the plan's rows.
        unsafe {
            let datum = pg_sys::slot_getattr(plan_row, i32::from(*number), &raw mut is_null);
            if is_null {
                return Err(crate::error::Refusal::internal("ctid is null").into());
            }
            writer.write(datum, false, &mut self.wire);
        }
        Ok(())
    }

    /// Deletes the row of an UPDATE, which is to be inserted elsewhere. False if
    /// it is no longer there.
    ///
    /// # Safety
    /// As [`ModifyState::compose`].
    pub unsafe fn take_away(
        &mut self,
        plan_row: *mut pg_sys::TupleTableSlot,
    ) -> Result<bool, Error> {
        // SAFETY: per the contract.
        unsafe { self.compose_ctid(plan_row)? };
        let statement = Statement {
            sql: delete_statement(&self.relation, &[]).into(),
            types: self.ctid.iter().map(|(_, w)| w.type_oid()).collect(),
            parameter_formats: self.ctid.iter().map(|(_, w)| w.format().code()).collect(),
            result_formats: Rc::new([]),
            is_kept: true,
        };
        let request =
            Request { statement: &statement, parameters: &self.wire, portal: "", max_rows: 0 };
        let sent = self.slot.send_write(&request);
        self.wire.clear();
        Ok(session::collect(&self.slot, sent?, &statement)?.affected() > 0)
    }

    /// Bytes composed and not sent.
    pub fn composed(&self) -> usize {
        self.wire.len()
    }

    /// Sends what was composed, `rows` rows.
    pub fn send(&mut self, rows: usize) -> Result<(Ticket, Statement), Error> {
        let Some(Buffer { copy: Some(copy), .. }) = &self.buffer else {
            return self.send_parameters(rows, 0);
        };
        // A statement that is prepared over there is cheaper for one row.
        if rows == 1
            && let Some(parameters) = copy.parameters(&self.wire)
        {
            return self.send_parameters(rows, self.wire.len() - parameters.len());
        }
        let command: Rc<[u8]> = copy.command.as_slice().into();
        let mut session = self.slot.enter()?;
        session.wrote = true;
        let sent = session.copy_in(&command, &copy.data(&self.wire));
        self.wire.clear();
        let statement = Statement {
            sql: command,
            types: Rc::new([]),
            parameter_formats: Rc::new([]),
            result_formats: Rc::new([]),
            is_kept: false,
        };
        Ok((sent?, statement))
    }

    /// Sends what was composed after its first `skipped` bytes, as parameters
    /// of the statement for `rows` rows.
    fn send_parameters(
        &mut self,
        rows: usize,
        skipped: usize,
    ) -> Result<(Ticket, Statement), Error> {
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
        let parameters = self.wire.get(skipped..).unwrap_or_default();
        let request = Request { statement: &statement, parameters, portal: "", max_rows: 0 };
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

impl Drop for ModifyState {
    fn drop(&mut self) {
        buffer::let_go(self);
        if !self.conflict.parameters.is_empty() {
            conflict::forget(self.estate);
        }
    }
}

/// Rows of one INSERT for a relation whose rows take `parameters` each.
pub fn batch_size(relid: pg_sys::Oid, parameters: usize) -> usize {
    let (server, own) = options::table_options(relid);
    let options = own.or(options::server_options(server));
    let wanted = options.get_number("batch_size").unwrap_or(BATCH_SIZE);
    wanted.min(MAX_PARAMETERS / parameters.max(1)).max(1)
}
