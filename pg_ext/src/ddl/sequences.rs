//! Managed sequences in DDL: columns that draw from them, and statements about
//! sequences themselves.
#![allow(unsafe_code)]

use cluster::sharding::{NodeCommand, SequenceDefinition, quote_identifier};
use cluster::{SequenceId, TableId};
use pgrx::prelude::*;

use super::fences::relation_of;
use super::step::{Finish, Step};
use super::{OwnWork, is_broadcasting, lock_ddl};
use crate::catalog::{
    self, definition_of_sequence, forget_dropped_sequences, new_sequence_id, owned_sequences,
    qualified_name, register_new, register_sequence, registry, sequence_with_id,
};
use crate::lists::{elements, text};
use crate::node_session::is_node_session;
use crate::report::Report;
use crate::sequence::{bounds_of, take_value};
use crate::{peers, settings};

/// What becomes of a managed sequence when PostgreSQL's part is done.
pub enum SequenceChange {
    /// It was made: by CREATE SEQUENCE.
    Created {
        /// Its schema.
        namespace: pg_sys::Oid,
        /// Its name.
        name: std::ffi::CString,
    },
    /// They begin anew, each at the value given, or go on with other
    /// parameters.
    Anew(Vec<(pg_sys::Oid, Option<i64>)>),
}

/// Registers the sequences of a table's columns that are new here. Returns
/// whether there are any.
pub fn register_owned(table: pg_sys::Oid) -> Result<bool, Report> {
    let mut any = false;
    for sequence in owned_sequences(table)? {
        any |= register_new(sequence)?.is_some();
    }
    Ok(any)
}

/// After a statement about a sharded table: its sequences are the same
/// everywhere.
pub fn align_everywhere(rel: pg_sys::Oid, table: TableId) -> Result<(), Report> {
    let sequences = owned_sequences(rel)?.into_iter().map(definition_of_sequence);
    let sequences = sequences.collect::<Result<Vec<_>, _>>()?;
    peers::tell_all(&NodeCommand::AlignSequences { table, sequences })
}

/// The same on a node that is told so: PostgreSQL may have chosen other names
/// here.
pub fn align(table: TableId, sequences: &[SequenceDefinition]) -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    let known = registry()?;
    let Some(rel) = known.managed_rel(table) else { return Ok(()) };
    let here = owned_sequences(rel)?;
    for definition in sequences {
        let wanted = definition.column.as_deref().unwrap_or_default();
        let found = here.iter().find(|sequence| column_of(**sequence).as_deref() == Some(wanted));
        let Some(sequence) = found else {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("column \"{wanted}\" has no sequence on this node"),
            ));
        };
        let name = quote_identifier(&definition.name);
        if qualified_name(*sequence) != definition.qualified_name() {
            let old = qualified_name(*sequence);
            Spi::run(&format!("ALTER SEQUENCE {old} RENAME TO {name}"))?;
        }
        let SequenceDefinition { sequence_id, first, block_size, .. } = *definition;
        register_sequence(*sequence, sequence_id, first, block_size)?;
    }
    Ok(())
}

fn column_of(sequence: pg_sys::Oid) -> Option<String> {
    let (mut table, mut column) = (pg_sys::InvalidOid, 0);
    // SAFETY: catalogue look-ups; a palloc'd name.
    unsafe {
        let is_owned =
            [pg_sys::DependencyType::DEPENDENCY_AUTO, pg_sys::DependencyType::DEPENDENCY_INTERNAL]
                .iter()
                .any(|kind| {
                    pg_sys::sequenceIsOwned(
                        sequence,
                        *kind as std::ffi::c_char,
                        &mut table,
                        &mut column,
                    )
                });
        is_owned.then(|| text(pg_sys::get_attname(table, column as i16, true)))
    }
}

/// Makes a sequence that another node has, with what belongs to it.
pub fn create(definition: &SequenceDefinition) -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    Spi::run(&definition.create_statement())?;
    if let Some(owned_by) = definition.owned_by_statement() {
        Spi::run(&owned_by)?;
    }
    register_definition(definition)?;
    Ok(definition.attachments.iter().try_for_each(|sql| Spi::run(sql))?)
}

/// Registers a sequence that exists by its definition.
pub fn register_definition(definition: &SequenceDefinition) -> Result<(), Report> {
    let name = definition.qualified_name();
    let rel = Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT $1::pg_catalog.regclass::pg_catalog.oid",
        &[name.into()],
    )?;
    let rel = rel.unwrap_or(pg_sys::InvalidOid);
    let SequenceDefinition { sequence_id, first, block_size, .. } = *definition;
    register_sequence(rel, sequence_id, first, block_size)
}

/// Keeps everybody from drawing until the transaction ends.
pub fn lock(sequence: SequenceId) -> Result<(), Report> {
    if let Some(rel) = sequence_with_id(sequence)? {
        // SAFETY: a guarded call; the lock that ALTER SEQUENCE takes.
        unsafe { pg_sys::LockRelationOid(rel, pg_sys::ShareRowExclusiveLock as i32) };
    }
    Ok(())
}

/// Looks at `CREATE SEQUENCE`.
///
/// # Safety
/// `statement` is a valid CreateSeqStmt.
pub unsafe fn before_create(
    statement: *mut pg_sys::CreateSeqStmt,
    is_part: bool,
) -> Result<Step, Report> {
    // SAFETY: the caller's; the checks raise what CREATE SEQUENCE itself would.
    unsafe {
        // A part of CREATE TABLE or ALTER TABLE, which see to it.
        if is_part || pg_sys::creating_extension {
            return Ok(Step::Pass);
        }
        super::fences::not_in_leaf_schemas((*statement).sequence)?;
        let is_managed = settings::broadcast_ddl() || gives_to_sharded((*statement).options)?;
        if !is_managed
            || is_node_session()
            || is_broadcasting()
            || registry()?.members().is_empty()
            || (*(*statement).sequence).relpersistence as u8 != pg_sys::RELPERSISTENCE_PERMANENT
        {
            return Ok(Step::Pass);
        }
        let mut existing = pg_sys::InvalidOid;
        let namespace = pg_sys::RangeVarGetAndCheckCreationNamespace(
            (*statement).sequence,
            pg_sys::NoLock as i32,
            &mut existing,
        );
        if existing != pg_sys::InvalidOid || pg_sys::isAnyTempNamespace(namespace) {
            return Ok(Step::Pass);
        }
        lock_ddl()?;
        let name = std::ffi::CStr::from_ptr((*(*statement).sequence).relname).to_owned();
        Ok(changing(SequenceChange::Created { namespace, name }))
    }
}

/// Whether options say OWNED BY a column of a sharded table.
unsafe fn gives_to_sharded(options: *mut pg_sys::List) -> Result<bool, Report> {
    // SAFETY: a list of DefElem; the argument of owned_by is a list of names.
    unsafe {
        let Some(option) = elements::<pg_sys::DefElem>(options)
            .find(|option| text((**option).defname) == "owned_by")
        else {
            return Ok(false);
        };
        let names: *mut pg_sys::List = (*option).arg.cast();
        if names.is_null() || (*names).length < 2 {
            return Ok(false);
        }
        let table = pg_sys::list_truncate(pg_sys::list_copy(names), (*names).length - 1);
        let table = relation_of(pg_sys::makeRangeVarFromNameList(table));
        Ok(match table {
            Some(table) => registry()?.managed_id(table).is_some(),
            None => false,
        })
    }
}

/// Looks at `ALTER SEQUENCE`, also as a part of ALTER TABLE. Returns what is to
/// be done afterwards, if the sequence is managed.
///
/// # Safety
/// `statement` is a valid AlterSeqStmt.
pub unsafe fn before_alter(
    statement: *mut pg_sys::AlterSeqStmt,
    is_part: bool,
) -> Result<Option<SequenceChange>, Report> {
    // SAFETY: the caller's; a list of DefElem.
    unsafe {
        let Some(rel) = relation_of((*statement).sequence) else { return Ok(None) };
        if registry()?.sequence(rel).is_none() {
            if !is_part && gives_to_sharded((*statement).options)? {
                return Err(not_managed(rel));
            }
            return Ok(None);
        }
        let mut restart = None;
        let mut changes = false;
        for option in elements::<pg_sys::DefElem>((*statement).options) {
            match text((*option).defname).as_str() {
                "owned_by" => {}
                "restart" => {
                    changes = true;
                    restart = Some(match (*option).arg.is_null() {
                        true => None,
                        false => Some(pg_sys::defGetInt64(option)),
                    });
                }
                _ => changes = true,
            }
        }
        if !changes {
            return Ok(None);
        }
        // RESTART alone means START, which the same statement may change: it is
        // read when PostgreSQL has changed it.
        let first = restart.map(|value| value.unwrap_or(i64::MIN));
        Ok(Some(SequenceChange::Anew(vec![(rel, first)])))
    }
}

/// `TRUNCATE … RESTART IDENTITY`: the sequences of the tables begin anew. `step`
/// is what else is to be done: the same with more tables, or nothing.
///
/// # Safety
/// `statement` is a valid TruncateStmt.
pub unsafe fn before_truncate(
    statement: *mut pg_sys::TruncateStmt,
    step: Step,
) -> Result<Step, Report> {
    // SAFETY: the caller's; a list of RangeVar.
    unsafe {
        let known = registry()?;
        if !(*statement).restart_seqs || known.has_no_sequences() || is_node_session() {
            return Ok(step);
        }
        let copy = match &step {
            Step::Run { statement, .. } if !statement.is_null() => *statement,
            _ => std::ptr::null_mut(),
        };
        let statement = match copy.is_null() {
            true => statement,
            false => (*copy).utilityStmt.cast(),
        };
        let mut anew = Vec::new();
        for range in elements::<pg_sys::RangeVar>((*statement).relations) {
            let Some(table) = relation_of(range) else { continue };
            let owned = owned_sequences(table)?.into_iter();
            anew.extend(
                owned.filter(|s| known.sequence(*s).is_some()).map(|s| (s, Some(i64::MIN))),
            );
        }
        if anew.is_empty() {
            return Ok(step);
        }
        lock_ddl()?;
        let finish = Some(Finish::Sequence(SequenceChange::Anew(anew)));
        Ok(Step::Run { statement: copy, finish })
    }
}

fn changing(change: SequenceChange) -> Step {
    Step::Run { statement: std::ptr::null_mut(), finish: Some(Finish::Sequence(change)) }
}

/// The managed sequences that a statement names.
///
/// # Safety
/// As for `sharded_target`.
pub unsafe fn named_sequences(statement: *mut pg_sys::Node) -> Result<bool, Report> {
    let known = registry()?;
    if known.has_no_sequences() {
        return Ok(false);
    }
    // SAFETY: the caller's.
    let named = unsafe { super::target::relations_of(statement) }?;
    Ok(named.iter().any(|rel| known.sequence(*rel).is_some()))
}

impl SequenceChange {
    /// On this node and all others. The DDL lock is held.
    pub fn finish(&self) -> Result<(), Report> {
        // SAFETY: makes visible what the statement did.
        unsafe { pg_sys::CommandCounterIncrement() };
        match self {
            SequenceChange::Created { namespace, name } => {
                // SAFETY: a syscache look-up.
                let rel = unsafe { pg_sys::get_relname_relid(name.as_ptr(), *namespace) };
                match register_new(rel)? {
                    Some(definition) => peers::tell_all(&NodeCommand::CreateSequence(definition)),
                    None => Ok(()),
                }
            }
            SequenceChange::Anew(sequences) => {
                sequences.iter().try_for_each(|(rel, first)| begin_anew(*rel, *first))
            }
        }
    }
}

/// A new life for a sequence, on all nodes. `first` is `None` for one that goes
/// on, and the smallest bigint for one that begins at its START.
fn begin_anew(rel: pg_sys::Oid, first: Option<i64>) -> Result<(), Report> {
    let known = registry()?;
    let Some(sequence) = known.sequence(rel) else { return Ok(()) };
    lock(sequence.id)?;
    peers::tell_all(&NodeCommand::LockSequence { sequence: sequence.id })?;
    // Nobody takes a block of the old life any more.
    let definition = definition_of_sequence(rel)?;
    let bounds = bounds_of(sequence)?;
    let first = match first {
        Some(i64::MIN) => definition.start,
        Some(first) => first,
        None => take_value(sequence, &bounds)?,
    };
    let new = new_sequence_id()?;
    // A size that the user chose would be taken for the default; one that was
    // the default follows the bounds.
    let block_size = match sequence.block_size {
        size if size < bounds.default_block_size() => size,
        _ => bounds.default_block_size(),
    };
    catalog::begin_sequence_anew(sequence.id, new, first, block_size)?;
    let sequence = sequence.id;
    peers::tell_all(&NodeCommand::BeginSequenceAnew { sequence, new, first, block_size })
}

/// At the end of every statement that may have dropped sequences.
pub fn forget_dropped() -> Result<(), Report> {
    if registry()?.has_no_sequences() { Ok(()) } else { forget_dropped_sequences() }
}

fn not_managed(rel: pg_sys::Oid) -> Report {
    let name = qualified_name(rel);
    Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("sequence {name} cannot belong to a sharded table"),
    )
    .detail("It exists on this node only.")
    .hint("Create it while shardman.broadcast_ddl is on.")
}
