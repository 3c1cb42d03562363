//! What a statement on another node did to a replicated table, done here.
//!
//! Below the executor, as logical replication does it: each row is found by its
//! primary key and written with its indexes and constraints. Nobody is asked
//! for rights, since the other node has asked. Of the table's triggers only
//! PostgreSQL's own fire: foreign keys of sharded tables, and unique constraints
//! that are checked late.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::CStr;
use std::mem::MaybeUninit;

use cluster::replication::Change;
use cluster::{NodeId, TableId};
use fdw::ImageReader;
use pgrx::prelude::*;

use super::definition::TRIGGER_PREFIX;
use super::key::Key;
use super::{epoch, standing};
use crate::catalog::{ActingAs, qualified_name, registry};
use crate::compat;
use crate::lists::list_of;
use crate::membership;
use crate::node_session::is_node_session;
use crate::report::Report;

thread_local! {
    static APPLYING: Cell<bool> = const { Cell::new(false) };
}

/// Whether changes of another node are being made.
pub fn is_applying() -> bool {
    APPLYING.get()
}

/// While alive, they are.
struct Applying(());

impl Applying {
    fn begin() -> Result<Self, Report> {
        // What runs meanwhile (constraints, index expressions) is users' code,
        // and must not write to tables by this way.
        if !is_node_session() || !is_the_statement() || APPLYING.replace(true) {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
                "changes of replicated tables come from other nodes only",
            ));
        }
        Ok(Applying(()))
    }
}

impl Drop for Applying {
    fn drop(&mut self) {
        APPLYING.set(false);
    }
}

/// Whether this is what the other node has sent, and no function of somebody.
fn is_the_statement() -> bool {
    // SAFETY: null or the text of the client's message.
    unsafe {
        !pg_sys::debug_query_string.is_null()
            && CStr::from_ptr(pg_sys::debug_query_string)
                .to_bytes()
                .starts_with(b"SELECT shardman.apply_changes(")
    }
}

#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_apply_changes_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `shardman.apply_changes(coordinator, epoch, table_id, changes)`. By hand, so that errors keep
/// their fields.
#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn apply_changes_wrapper(
    call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: PostgreSQL calls it as a strict function of (integer, bigint, bigint, bytea);
    // no destructor is live here.
    unsafe {
        fdw::callback(|| {
            let arguments = (*call).args.as_slice(4);
            let coordinator = NodeId(arguments[0].value.value() as u32);
            let epoch = arguments[1].value.value() as u64;
            let table = TableId(arguments[2].value.value() as u64);
            let changes = pg_sys::pg_detoast_datum_packed(arguments[3].value.cast_mut_ptr());
            let data = pgrx::varlena::vardata_any(changes);
            let length = pgrx::varlena::varsize_any_exhdr(changes);
            let _applying = Applying::begin()?;
            standing::check(coordinator)?;
            epoch::receive(epoch)?;
            Ok(apply(table, std::slice::from_raw_parts(data.cast(), length))?)
        });
    }
    pg_sys::Datum::from(0)
}

/// The same for changes that this node has asked for.
pub fn apply_own(table: TableId, changes: &[u8]) -> Result<(), Report> {
    APPLYING.set(true);
    let _applying = Applying(());
    apply(table, changes)
}

fn apply(table: TableId, changes: &[u8]) -> Result<(), Report> {
    let registry = registry()?;
    let Some(table) = registry.replicated(table) else {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("replicated table {table} does not exist on this node"),
        ));
    };
    // SAFETY: opened with the lock of a writer, which is kept; `Target` pairs what
    // it begins with `end`, or an error unwinds to the transaction's end.
    unsafe {
        let relation = pg_sys::table_open(table.rel, pg_sys::RowExclusiveLock as i32);
        let empties = changes.first() == Some(&Change::Truncate.code());
        // Entries of a log are made while others wait for their turn to commit,
        // whom a lock on the whole table would keep from it.
        let done = if empties && table.log.is_none() && !has_other_referrers(table.rel)? {
            truncate(relation)
        } else if empties {
            let mut target = Target::begin(relation)?;
            target.delete_all();
            target.end();
            Ok(())
        } else {
            let mut target = Target::begin(relation)?;
            let done = target.make(changes);
            if done.is_ok() {
                target.end();
            }
            done
        };
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        done
    }
}

/// Where rows are written.
struct Target {
    relation: pg_sys::Relation,
    key: Key,
    reader: ImageReader,
    estate: *mut pg_sys::EState,
    result: *mut pg_sys::ResultRelInfo,
    epq: pg_sys::EPQState,
    /// The key, or the row as sent.
    sent: *mut pg_sys::TupleTableSlot,
    /// The row as it is here.
    found: *mut pg_sys::TupleTableSlot,
    row: *mut pg_sys::TupleTableSlot,
}

impl Target {
    /// SAFETY: `relation` is open and locked for writing.
    unsafe fn begin(relation: pg_sys::Relation) -> Result<Self, Report> {
        // SAFETY: what logical replication's workers set up for a relation, with
        // guarded calls; everything lives in the current context.
        unsafe {
            let key = Key::of(relation)?;
            let reader = ImageReader::new((*relation).rd_att, &key.columns);
            let estate = pg_sys::CreateExecutorState();
            let mut entry =
                PgBox::<pg_sys::RangeTblEntry>::alloc_node(pg_sys::NodeTag::T_RangeTblEntry);
            entry.rtekind = pg_sys::RTEKind::RTE_RELATION;
            entry.relid = (*relation).rd_id;
            entry.relkind = (*(*relation).rd_rel).relkind;
            entry.rellockmode = pg_sys::RowExclusiveLock as i32;
            pg_sys::ExecInitRangeTable(estate, list_of([entry.into_pg()]));
            (*estate).es_output_cid = pg_sys::GetCurrentCommandId(true);
            let result =
                PgBox::<pg_sys::ResultRelInfo>::alloc_node(pg_sys::NodeTag::T_ResultRelInfo)
                    .into_pg();
            pg_sys::InitResultRelInfo(result, relation, 1, std::ptr::null_mut(), 0);
            (*result).ri_TrigDesc = own_triggers((*result).ri_TrigDesc)?;
            (*estate).es_opened_result_relations =
                pg_sys::lappend((*estate).es_opened_result_relations, result.cast());
            pg_sys::ExecOpenIndices(result, false);
            pg_sys::AfterTriggerBeginQuery();
            let mut epq = MaybeUninit::<pg_sys::EPQState>::zeroed().assume_init();
            pg_sys::EvalPlanQualInit(
                &raw mut epq,
                estate,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                -1,
            );
            let descriptor = (*relation).rd_att;
            let virtual_slot =
                || pg_sys::MakeSingleTupleTableSlot(descriptor, &raw const pg_sys::TTSOpsVirtual);
            Ok(Target {
                relation,
                key,
                reader,
                estate,
                result,
                epq,
                sent: virtual_slot(),
                found: pg_sys::table_slot_create(relation, std::ptr::null_mut()),
                row: virtual_slot(),
            })
        }
    }

    /// SAFETY: as begun.
    unsafe fn end(&mut self) {
        // SAFETY: the counterparts of `begin`.
        unsafe {
            pg_sys::AfterTriggerEndQuery(self.estate);
            pg_sys::EvalPlanQualEnd(&raw mut self.epq);
            pg_sys::ExecCloseIndices(self.result);
            for slot in [self.sent, self.found, self.row] {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            pg_sys::ExecResetTupleTable((*self.estate).es_tupleTable, false);
            pg_sys::FreeExecutorState(self.estate);
        }
    }

    /// Deletes every row. Rows of sharded tables that refer to them have gone
    /// before, if they were to go.
    ///
    /// SAFETY: as begun.
    unsafe fn delete_all(&mut self) {
        // SAFETY: slots of the relation; the snapshot is unregistered below or by
        // the transaction's end.
        unsafe {
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
            let no_keys = std::ptr::null_mut();
            let scan = pg_sys::table_beginscan(self.relation, snapshot, 0, no_keys);
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            while pg_sys::table_scan_getnextslot(scan, forward, self.found) {
                check_for_interrupts!();
                let epq = &raw mut self.epq;
                pg_sys::ExecSimpleRelationDelete(self.result, self.estate, epq, self.found);
            }
            pg_sys::table_endscan(scan);
            pg_sys::UnregisterSnapshot(snapshot);
        }
    }

    /// SAFETY: as begun.
    unsafe fn make(&mut self, mut changes: &[u8]) -> Result<(), Report> {
        // SAFETY: slots are of the relation; each is cleared before memory that
        // it points into is given back.
        unsafe {
            while let Some((code, rest)) = changes.split_first() {
                check_for_interrupts!();
                changes = rest;
                let Some(change) = Change::of_code(*code) else {
                    return Err(Report::new(
                        PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                        "could not read changes of another node",
                    )
                    .hint("All nodes must run the same version of shardman."));
                };
                let has_key = change != Change::Insert;
                if has_key {
                    self.reader.key(&mut changes, self.sent)?;
                }
                if matches!(change, Change::Insert | Change::Update | Change::Present) {
                    self.reader.row(&mut changes, self.row)?;
                }
                self.write(change)?;
                for slot in [self.sent, self.found, self.row] {
                    pg_sys::ExecClearTuple(slot);
                }
                self.reader.forget_rows();
                let context = (*self.estate).es_per_tuple_exprcontext;
                if !context.is_null() {
                    pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
                }
            }
        }
        Ok(())
    }

    unsafe fn write(&mut self, change: Change) -> Result<(), Report> {
        // SAFETY: as in `make`.
        unsafe {
            let exists = match change {
                Change::Insert | Change::Truncate => false,
                Change::Delete | Change::Absent => {
                    self.find(pg_sys::LockTupleMode::LockTupleExclusive)
                }
                Change::Update | Change::Present => {
                    self.find(pg_sys::LockTupleMode::LockTupleNoKeyExclusive)
                }
            };
            match (change, exists) {
                (Change::Insert, _) | (Change::Present, false) => {
                    pg_sys::ExecSimpleRelationInsert(self.result, self.estate, self.row);
                }
                (Change::Update | Change::Present, true) => {
                    pg_sys::ExecSimpleRelationUpdate(
                        self.result,
                        self.estate,
                        &raw mut self.epq,
                        self.found,
                        self.row,
                    );
                }
                (Change::Delete | Change::Absent, true) => {
                    pg_sys::ExecSimpleRelationDelete(
                        self.result,
                        self.estate,
                        &raw mut self.epq,
                        self.found,
                    );
                }
                (Change::Absent | Change::Truncate, _) => {}
                (Change::Update | Change::Delete, false) => return Err(self.row_is_missing()),
            }
        }
        Ok(())
    }

    /// Finds and locks the row with the key that was sent; waits for
    /// transactions that write it.
    unsafe fn find(&mut self, mode: pg_sys::LockTupleMode::Type) -> bool {
        // SAFETY: slots of the relation, the primary key's index.
        unsafe {
            pg_sys::RelationFindReplTupleByIndex(
                self.relation,
                self.key.index,
                mode,
                self.sent,
                self.found,
            )
        }
    }

    fn row_is_missing(&self) -> Report {
        // SAFETY: the relation is open.
        let table = qualified_name(unsafe { (*self.relation).rd_id });
        let node = membership::my_identity().map(|identity| identity.node_id.to_string());
        let node = node.unwrap_or_default();
        Report::new(
            PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            format!("the copy of replicated table {table} on node {node} lacks a row"),
        )
        .detail("The statement changes a row that exists on the node that runs it.")
        .hint("Compare the copies with shardman.check_replicated(), and make them equal with shardman.repair_replicated().")
    }
}

/// A copy of a trigger list without users' triggers and our own.
unsafe fn own_triggers(all: *mut pg_sys::TriggerDesc) -> Result<*mut pg_sys::TriggerDesc, Report> {
    if all.is_null() {
        return Ok(all);
    }
    let registry = registry()?;
    // SAFETY: a valid copy, whose array has numtriggers entries; the arrays beside
    // it in the ResultRelInfo have as many, so fewer fit.
    unsafe {
        let kept = pg_sys::palloc0(size_of::<pg_sys::TriggerDesc>()).cast::<pg_sys::TriggerDesc>();
        let count = (*all).numtriggers as usize;
        let bytes = size_of::<pg_sys::Trigger>() * count.max(1);
        (*kept).triggers = pg_sys::palloc0(bytes).cast();
        for at in 0..count {
            let trigger = *(*all).triggers.add(at);
            let name = CStr::from_ptr(trigger.tgname).to_bytes();
            // Between replicated tables the writer's node has checked, and what
            // a foreign key does to the other table comes from there, too.
            let is_between_replicated = registry.replicated_of(trigger.tgconstrrelid).is_some();
            if !trigger.tgisinternal
                || name.starts_with(TRIGGER_PREFIX.as_bytes())
                || is_between_replicated
            {
                continue;
            }
            *(*kept).triggers.add((*kept).numtriggers as usize) = trigger;
            (*kept).numtriggers += 1;
            // PostgreSQL's own are all AFTER ROW.
            let fires_on = |event: u32| trigger.tgtype as u32 & event != 0;
            (*kept).trig_insert_after_row |= fires_on(pg_sys::TRIGGER_TYPE_INSERT);
            (*kept).trig_update_after_row |= fires_on(pg_sys::TRIGGER_TYPE_UPDATE);
            (*kept).trig_delete_after_row |= fires_on(pg_sys::TRIGGER_TYPE_DELETE);
        }
        Ok(if (*kept).numtriggers == 0 { std::ptr::null_mut() } else { kept })
    }
}

/// Empties the table, and replicated tables that refer to it, which the writer
/// has emptied, too. Others that refer to it are an error.
unsafe fn truncate(relation: pg_sys::Relation) -> Result<(), Report> {
    // SAFETY: the relation is open; its lists live in the current context.
    unsafe {
        let mut opened = Vec::new();
        let mut oids = std::ptr::null_mut();
        for rel in with_referrers((*relation).rd_id)? {
            opened.push(pg_sys::table_open(rel, pg_sys::AccessExclusiveLock as i32));
            oids = pg_sys::lappend_oid(oids, rel);
        }
        let relations = list_of(opened.iter().copied());
        let is_logged = pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_LOGICAL as i32;
        let logged = if is_logged { pg_sys::list_copy(oids) } else { std::ptr::null_mut() };
        compat::truncate_guarded(relations, oids, logged, pg_sys::DropBehavior::DROP_RESTRICT);
        opened.into_iter().for_each(|relation| {
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
        });
    }
    Ok(())
}

/// Whether tables refer to it that are not replicated: PostgreSQL would refuse
/// TRUNCATE, whether they have rows or not.
pub fn has_other_referrers(rel: pg_sys::Oid) -> Result<bool, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (
             SELECT FROM pg_catalog.pg_constraint AS k
             WHERE k.confrelid OPERATOR(pg_catalog.=) $1 AND k.contype OPERATOR(pg_catalog.=) 'f'
               AND NOT EXISTS (SELECT FROM shardman.replicated_table AS t
                               WHERE t.rel OPERATOR(pg_catalog.=) k.conrelid))",
        &[rel.into()],
    )?;
    Ok(found.unwrap_or_default())
}

/// A replicated table and those that refer to it, directly or not.
fn with_referrers(rel: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        "WITH RECURSIVE named AS (
             SELECT $1 AS rel
             UNION
             SELECT k.conrelid FROM named
                  JOIN pg_catalog.pg_constraint AS k ON k.confrelid OPERATOR(pg_catalog.=) named.rel
                       AND k.contype OPERATOR(pg_catalog.=) 'f'
                  JOIN shardman.replicated_table AS t ON t.rel OPERATOR(pg_catalog.=) k.conrelid)
         SELECT pg_catalog.array_agg(rel) FROM named",
        &[rel.into()],
    )?;
    Ok(found.unwrap_or_default())
}
