//! Turning a filled table into a sharded one: `shardman.distribute_table` and
//! `CREATE TABLE … WITH (distributed_by = …) AS`.
//!
//! Everything happens in the user's transaction. The table is locked against
//! writing, and put out of the way by changes of its catalogue rows, which other
//! sessions do not see before the end: they go on reading it. Then a sharded
//! table is made from its definition on all nodes, the rows are copied, and what
//! would act on them (triggers, policies, foreign keys) comes last.
#![allow(unsafe_code)]

use std::ffi::CString;

use cluster::sharding::{
    NodeCommand, RequestedDistribution, SequenceDefinition, StorageParameter, TableDefinition,
    quote_identifier, separate_options,
};
use pgrx::prelude::*;

use super::create_table::CreatedTable;
use super::requested::{print_parameter, read_options};
use super::step::{Finish, Step};
use super::table_kind::SHARDED;
use super::{
    OwnWork, attach, create_from_definition, foreign_keys, is_broadcasting, is_leaf_schema,
    lock_ddl, sequences,
};
use crate::catalog::{
    ActingAs, future_definition_of_sequence, owned_sequences, qualified_name, registry,
};
use crate::node_session::is_node_session;
use crate::report::{OrRaise, Report};
use crate::{membership, peers};

/// Pages that are copied between two notices.
const STEP: i64 = 8192;

/// `shardman.distribute_table(regclass, text, integer, text)`.
#[pg_extern(sql = false)]
fn distribute_table(
    rel: pg_sys::Oid,
    distributed_by: &str,
    num_parts: Option<i32>,
    colocate_with: Option<&str>,
) {
    let option = |name: &str, value: String| StorageParameter {
        namespace: None,
        name: name.into(),
        value: Some(value),
    };
    let options = [
        Some(option("distributed_by", distributed_by.into())),
        num_parts.map(|number| option("num_parts", number.to_string())),
        colocate_with.map(|table| option("colocate_with", table.into())),
    ];
    let requested = separate_options(options.into_iter().flatten()).map_err(Report::from);
    let done = requested.and_then(|requested| match requested.distribution {
        Some(distribution) => distribute(rel, distribution, None),
        None => Ok(()),
    });
    done.or_raise();
}

/// A table that CREATE TABLE AS has just made and filled.
pub struct FilledTable {
    namespace: pg_sys::Oid,
    name: CString,
    distribution: RequestedDistribution,
    leaf_options: Vec<String>,
}

/// Looks at `CREATE TABLE AS` and `SELECT INTO`.
///
/// # Safety
/// `pstmt` is a valid statement of that kind.
pub unsafe fn before_table_as(pstmt: *mut pg_sys::PlannedStmt) -> Result<Step, Report> {
    // SAFETY: the caller's; the grammar makes an IntoClause.
    unsafe {
        let statement: *mut pg_sys::CreateTableAsStmt = (*pstmt).utilityStmt.cast();
        let into = (*statement).into;
        if into.is_null() {
            return Ok(Step::Pass);
        }
        let requested = read_options((*into).options)?;
        let Some(distribution) = requested.distribution else { return Ok(Step::Pass) };
        let persistence = (*(*into).rel).relpersistence as u8;
        let mut existing = pg_sys::InvalidOid;
        let namespace = pg_sys::RangeVarGetAndCheckCreationNamespace(
            (*into).rel,
            pg_sys::NoLock as i32,
            &mut existing,
        );
        if persistence != pg_sys::RELPERSISTENCE_PERMANENT || pg_sys::isAnyTempNamespace(namespace)
        {
            let kind = match persistence {
                pg_sys::RELPERSISTENCE_UNLOGGED => "an unlogged",
                _ => "a temporary",
            };
            return Err(SHARDED.not_permanent(kind));
        }
        check_session()?;
        let copy: *mut pg_sys::PlannedStmt = pg_sys::copyObjectImpl(pstmt.cast()).cast();
        let into = (*(*copy).utilityStmt.cast::<pg_sys::CreateTableAsStmt>()).into;
        (*into).options = std::ptr::null_mut();
        if existing != pg_sys::InvalidOid {
            // PostgreSQL says so: an error, or a notice under IF NOT EXISTS.
            return Ok(Step::Run { statement: copy, finish: None });
        }
        let finish = Some(Finish::Distribute(FilledTable {
            namespace,
            name: std::ffi::CStr::from_ptr((*(*into).rel).relname).to_owned(),
            distribution,
            leaf_options: requested.storage.iter().map(print_parameter).collect(),
        }));
        Ok(Step::Run { statement: copy, finish })
    }
}

impl FilledTable {
    /// Makes it a sharded one.
    pub fn finish(&self) -> Result<(), Report> {
        // SAFETY: makes the table visible; a syscache look-up.
        let rel = unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::get_relname_relid(self.name.as_ptr(), self.namespace)
        };
        distribute(rel, self.distribution.clone(), Some(self.leaf_options.clone()))
    }
}

/// Whether this session may turn tables into sharded ones.
pub fn check_session() -> Result<(), Report> {
    membership::my_identity()?;
    // SAFETY: a variable of the backend.
    let level = unsafe { pg_sys::XactIsoLevel } as u32;
    if is_node_session() || is_broadcasting() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot distribute a table in a statement that runs on another node or in a broadcast",
        ));
    }
    if level >= pg_sys::XACT_REPEATABLE_READ {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "cannot distribute a table under REPEATABLE READ or SERIALIZABLE",
        )
        .detail("Rows that were committed since the transaction began would be left behind.")
        .hint("Use READ COMMITTED."));
    }
    Ok(())
}

/// Makes a table of this node a sharded one. `leaf_options` is `None` for those
/// that the table has.
fn distribute(
    rel: pg_sys::Oid,
    distribution: RequestedDistribution,
    leaf_options: Option<Vec<String>>,
) -> Result<(), Report> {
    check_session()?;
    let facts = Facts::of(rel)?;
    lock_ddl()?;
    // The rows, and what the table was here.
    crate::schema_change::note_other_work();
    // SAFETY: a guarded call; the table exists or the look-ups below fail.
    unsafe { pg_sys::LockRelationOid(rel, pg_sys::ShareRowExclusiveLock as i32) };
    facts.check(rel)?;
    let options = match leaf_options {
        Some(options) => options,
        None => storage_of(rel)?,
    };
    make_sharded(rel, facts.owner, distribution, options, &[])
}

/// Makes a locked table of this node a sharded one: an ordinary table, or one whose
/// rows and foreign keys are in the `leaves`, which go with it. The right to change the schema is held.
pub fn make_sharded(
    rel: pg_sys::Oid,
    owner: pg_sys::Oid,
    distribution: RequestedDistribution,
    leaf_options: Vec<String>,
    leaves: &[pg_sys::Oid],
) -> Result<(), Report> {
    let _acting = ActingAs::user(owner);
    let put_aside_leaves = leaves.iter().map(|leaf| put_aside(*leaf, &[]));
    let mut sources = put_aside_leaves.collect::<Result<Vec<_>, _>>()?;
    let created = CreatedTable::from_table(rel, distribution, leaf_options)?;
    let mut definition = created.checked_definition(rel)?;
    let owned = owned_sequences(rel)?;
    let described = owned.iter().map(|sequence| future_definition_of_sequence(*sequence));
    definition.sequences = described.collect::<Result<Vec<_>, _>>()?;
    if !leaves.is_empty() {
        // Those of the leaves are more, and whoever calls adds them.
        definition.foreign_keys.clear();
    }
    // A node's own position says nothing of what the others had drawn.
    definition
        .sequences
        .iter_mut()
        .try_for_each(|sequence| sources.iter().try_for_each(|rows| go_beyond(sequence, rows)))?;
    let old = put_aside(rel, &owned)?;
    if sources.is_empty() {
        sources.push(old.clone());
    }
    let bare = bare(&definition);
    {
        let _own_work = OwnWork::begin();
        bare.parent_statements().iter().try_for_each(|sql| Spi::run(sql))?;
        bare.sequences.iter().try_for_each(sequences::register_definition)?;
        create_from_definition(&bare)?;
        attach(&bare)?;
    }
    peers::tell_all(&NodeCommand::CreateTable(bare))?;
    sources.iter().try_for_each(|rows| copy_rows(rows, &definition))?;
    {
        let _own_work = OwnWork::begin();
        let _acting = ActingAs::owner_of_the_catalogs();
        // Leaves that are attached go with it, and what they referenced.
        let cascade = if leaves.is_empty() { "" } else { " CASCADE" };
        Spi::run(&format!("DROP TABLE {old}{cascade}"))?;
        for rows in sources.iter().filter(|rows| **rows != old) {
            let is_left = format!("SELECT pg_catalog.to_regclass('{rows}') IS NOT NULL");
            if Spi::get_one::<bool>(&is_left)? == Some(true) {
                Spi::run(&format!("DROP TABLE {rows} CASCADE"))?;
            }
        }
    }
    attach(&definition)?;
    let foreign_keys = definition.foreign_keys.clone();
    let table = definition.table_id;
    peers::tell_all(&NodeCommand::Attach(definition))?;
    if foreign_keys.is_empty() {
        return Ok(());
    }
    foreign_keys::add_defined_everywhere(table, &foreign_keys)
}

/// Has a sequence begin after all values that rows have in its column.
fn go_beyond(sequence: &mut SequenceDefinition, rows: &str) -> Result<(), Report> {
    let Some(column) = sequence.column.as_deref().map(quote_identifier) else { return Ok(()) };
    let _acting = ActingAs::owner_of_the_catalogs();
    let last = match sequence.increment > 0 {
        true => Spi::get_one::<i64>(&format!("SELECT pg_catalog.max({column})::int8 FROM {rows}"))?,
        false => {
            Spi::get_one::<i64>(&format!("SELECT pg_catalog.min({column})::int8 FROM {rows}"))?
        }
    };
    let Some(last) = last else { return Ok(()) };
    let next = last.saturating_add(sequence.increment);
    let is_beyond =
        if sequence.increment > 0 { next > sequence.first } else { next < sequence.first };
    if is_beyond && (sequence.min..=sequence.max).contains(&next) {
        sequence.first = next;
    }
    Ok(())
}

/// What the table is while nothing acts on its rows.
fn bare(definition: &TableDefinition) -> TableDefinition {
    let mut bare = definition.clone();
    bare.attachments.clear();
    bare.foreign_keys.clear();
    bare.sequences.iter_mut().for_each(|sequence| sequence.attachments.clear());
    bare
}

/// Who owns a relation.
pub fn owner_of(rel: pg_sys::Oid) -> Result<pg_sys::Oid, Report> {
    Ok(Facts::of(rel)?.owner)
}

/// What pg_class says of a table.
struct Facts {
    owner: pg_sys::Oid,
    kind: u8,
    persistence: u8,
}

impl Facts {
    fn of(rel: pg_sys::Oid) -> Result<Self, Report> {
        // SAFETY: guarded; the entry is read while it is open.
        unsafe {
            let relation = pg_sys::relation_open(rel, pg_sys::AccessShareLock as i32);
            let row = (*relation).rd_rel;
            let facts = Facts {
                owner: (*row).relowner,
                kind: (*row).relkind as u8,
                persistence: (*row).relpersistence as u8,
            };
            pg_sys::relation_close(relation, pg_sys::NoLock as i32);
            Ok(facts)
        }
    }

    fn check(&self, rel: pg_sys::Oid) -> Result<(), Report> {
        let name = qualified_name(rel);
        // SAFETY: syscache look-ups.
        let may = unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), self.owner) };
        if !may {
            let code = PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE;
            return Err(Report::new(code, format!("must be owner of table {name}")));
        }
        let wrong = |why: &str| {
            Report::new(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                format!("cannot distribute table {name}"),
            )
            .detail(why.to_owned())
        };
        let known = registry()?;
        if known.managed_id(rel).is_some() {
            return Err(wrong("It is sharded or replicated already."));
        }
        if is_leaf_schema(rel) || self.kind != pg_sys::RELKIND_RELATION {
            return Err(wrong("Only an ordinary table can become a sharded one."));
        }
        if self.persistence != pg_sys::RELPERSISTENCE_PERMANENT {
            return Err(wrong("It is temporary or unlogged."));
        }
        let _acting = ActingAs::owner_of_the_catalogs();
        let obstacle = Spi::get_one_with_args::<String>(
            "SELECT pg_catalog.min(o.what) FROM (
                 SELECT 'It inherits from a table, or another inherits from it.' AS what
                 FROM pg_catalog.pg_inherits
                 WHERE $1 OPERATOR(pg_catalog.=) inhrelid OR $1 OPERATOR(pg_catalog.=) inhparent
                 UNION ALL
                 SELECT pg_catalog.format('Table %s references it.', conrelid::pg_catalog.regclass)
                 FROM pg_catalog.pg_constraint
                 WHERE confrelid OPERATOR(pg_catalog.=) $1 AND contype OPERATOR(pg_catalog.=) 'f'
                 UNION ALL
                 SELECT pg_catalog.format('Rule %I is on it, or the view %s reads it.', r.rulename,
                                          r.ev_class::pg_catalog.regclass)
                 FROM pg_catalog.pg_depend AS d
                      JOIN pg_catalog.pg_rewrite AS r ON r.oid OPERATOR(pg_catalog.=) d.objid
                 WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                   AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
                   AND d.refobjid OPERATOR(pg_catalog.=) $1) AS o",
            &[rel.into()],
        )?;
        match obstacle {
            Some(why) => Err(wrong(&why)
                .code(PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
                .hint("Drop what depends on it, and make it again afterwards.")),
            None => Ok(()),
        }
    }
}

/// Its storage parameters, as elements of a WITH list.
pub fn storage_of(rel: pg_sys::Oid) -> Result<Vec<String>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<String>>(
        "SELECT ARRAY(SELECT pg_catalog.jsonb_array_elements_text(
                          shardman.describe_table($1) OPERATOR(pg_catalog.->) 'storage'))",
        &[rel.into()],
    )?;
    Ok(found.unwrap_or_default())
}

/// Gives the table, its indexes, types, constraints and sequences names out of
/// the way. Returns the table's.
fn put_aside(rel: pg_sys::Oid, sequences: &[pg_sys::Oid]) -> Result<String, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let arguments = [rel.into(), sequences.to_vec().into()];
    Spi::run_with_args(
        "UPDATE pg_catalog.pg_type AS t
         SET typname = ('old_' OPERATOR(pg_catalog.||) t.oid::pg_catalog.text)::pg_catalog.name,
             typnamespace = 'shardman'::pg_catalog.regnamespace
         FROM pg_catalog.pg_class AS c
              JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) c.reltype
         WHERE c.oid OPERATOR(pg_catalog.=) $1
           AND (t.oid OPERATOR(pg_catalog.=) c.reltype OR t.oid OPERATOR(pg_catalog.=) y.typarray)",
        &arguments[..1],
    )?;
    Spi::run_with_args(
        "UPDATE pg_catalog.pg_constraint SET connamespace = 'shardman'::pg_catalog.regnamespace
         WHERE conrelid OPERATOR(pg_catalog.=) $1",
        &arguments[..1],
    )?;
    // Nothing of row security applies to a table that is only copied.
    Spi::run_with_args(
        "UPDATE pg_catalog.pg_class AS c
         SET relname = ('old_' OPERATOR(pg_catalog.||) c.oid::pg_catalog.text)::pg_catalog.name,
             relnamespace = 'shardman'::pg_catalog.regnamespace,
             relrowsecurity = false, relforcerowsecurity = false
         WHERE c.oid OPERATOR(pg_catalog.=) $1 OR c.oid OPERATOR(pg_catalog.=) ANY ($2)
            OR c.oid OPERATOR(pg_catalog.=) ANY (
                   SELECT indexrelid FROM pg_catalog.pg_index
                   WHERE indrelid OPERATOR(pg_catalog.=) $1)",
        &arguments,
    )?;
    Ok(format!("shardman.old_{}", rel.to_u32()))
}

/// Copies all rows; says how far it is.
fn copy_rows(old: &str, definition: &TableDefinition) -> Result<(), Report> {
    let stored = definition.columns.iter().filter(|column| column.generated.is_none());
    let columns: Vec<_> = stored.map(|column| quote_identifier(&column.name)).collect();
    let columns = columns.join(", ");
    let pages = Spi::get_one::<i64>(&format!(
        "SELECT pg_catalog.pg_relation_size('{old}') OPERATOR(pg_catalog./)
                pg_catalog.current_setting('block_size')::pg_catalog.int8"
    ))?;
    let pages = pages.unwrap_or_default();
    let table = definition.qualified_name();
    let mut from = 0;
    while from < pages {
        let to = from + STEP;
        let rows = format!(
            "SELECT {columns} FROM {old}
             WHERE ctid OPERATOR(pg_catalog.>=) '({from},0)' AND ctid OPERATOR(pg_catalog.<) '({to},0)'"
        );
        let overriding = "OVERRIDING SYSTEM VALUE";
        match columns.is_empty() {
            true => Spi::run(&format!("INSERT INTO {table} {rows}"))?,
            false => Spi::run(&format!("INSERT INTO {table} ({columns}) {overriding} {rows}"))?,
        }
        from = to;
        if from < pages {
            pgrx::notice!("copied {from} of {pages} pages of table {table}");
        }
    }
    Ok(())
}
