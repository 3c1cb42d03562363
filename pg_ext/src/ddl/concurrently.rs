//! Statements whose work is a job: CREATE INDEX CONCURRENTLY and its like.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::panic::AssertUnwindSafe;

use cluster::jobs::{IndexBuild, JobKind};
use cluster::sharding::{LEAF_SCHEMA, quote_identifier};
use pgrx::PgTryBuilder;
use pgrx::prelude::*;

use super::OwnWork;
use super::fences::{is_leaf_schema, relation_of, table_of_index};
use super::schema_rights::SchemaRights;
use super::step::Step;
use crate::catalog::{ActingAs, qualified_name, registry};
use crate::jobs::submit_and_wait;
use crate::lists::{elements, text};
use crate::membership::current_user;
use crate::node_session::is_node_session;
use crate::report::Report;

/// Raises unless a statement is alone: its job must not wait for what its
/// transaction holds.
///
/// # Safety
/// Called for a utility statement, in its context.
pub unsafe fn check_alone(
    context: pg_sys::ProcessUtilityContext::Type,
    tag: &'static std::ffi::CStr,
) -> Result<(), Report> {
    if is_node_session() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot run {} from another node's session", tag.to_string_lossy()),
        ));
    }
    let at_top = context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL;
    // SAFETY: guarded; a NUL-terminated constant.
    unsafe { pg_sys::PreventInTransactionBlock(at_top, tag.as_ptr()) };
    Ok(())
}

/// CREATE INDEX CONCURRENTLY on the sharded table `parent`.
///
/// # Safety
/// `statement` is a valid IndexStmt.
pub unsafe fn create_index(
    statement: *mut pg_sys::IndexStmt,
    parent: pg_sys::Oid,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    let done = Step::DoneAs(pg_sys::CommandTag::CMDTAG_CREATE_INDEX);
    // SAFETY: the caller's.
    unsafe {
        check_alone(context, c"CREATE INDEX CONCURRENTLY")?;
        if !(*(*statement).relation).inh {
            // ON ONLY makes no index of a leaf: PostgreSQL has an answer to that.
            return Ok(Step::Pass);
        }
        check_owner(parent)?;
        if !(*statement).idxname.is_null() && is_taken(statement, parent)? {
            return Ok(done);
        }
        let build = describe(statement, parent)?;
        submit_and_wait(JobKind::CreateIndex(build))?;
    }
    Ok(done)
}

/// DROP INDEX CONCURRENTLY, if it is about an index of a sharded table.
///
/// # Safety
/// `statement` is a valid DropStmt.
pub unsafe fn before_drop(
    statement: *mut pg_sys::DropStmt,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    // SAFETY: the caller's; for indexes the objects are lists of name strings.
    let named = unsafe {
        let is_ours =
            (*statement).concurrent && (*statement).removeType == pg_sys::ObjectType::OBJECT_INDEX;
        if !is_ours {
            return Ok(Step::Pass);
        }
        elements::<pg_sys::List>((*statement).objects)
            .filter_map(|names| relation_of(pg_sys::makeRangeVarFromNameList(names)))
            .collect::<Vec<_>>()
    };
    let registry = registry()?;
    // PostgreSQL takes one index at a time, and no CASCADE.
    let [index] = named[..] else { return Ok(Step::Pass) };
    if is_leaf_schema(index) || registry.table_of(table_of_index(index)).is_none() {
        return Ok(Step::Pass);
    }
    // SAFETY: the caller's.
    unsafe {
        if (*statement).behavior == pg_sys::DropBehavior::DROP_CASCADE {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "DROP INDEX CONCURRENTLY does not support CASCADE",
            ));
        }
        check_alone(context, c"DROP INDEX CONCURRENTLY")?;
    }
    check_owner(index)?;
    check_unconstrained(index)?;
    submit_and_wait(JobKind::DropIndex { index: qualified_name(index) })?;
    Ok(Step::DoneAs(pg_sys::CommandTag::CMDTAG_DROP_INDEX))
}

/// Refuses an index that belongs to a constraint, before there is a job.
fn check_unconstrained(index: pg_sys::Oid) -> Result<(), Report> {
    // SAFETY: a look-up in the catalogues.
    let constraint = unsafe { pg_sys::get_index_constraint(index) };
    if constraint == pg_sys::InvalidOid {
        return Ok(());
    }
    // SAFETY: syscache look-ups; palloc'd names or null.
    let (index, constraint) = unsafe {
        (text(pg_sys::get_rel_name(index)), text(pg_sys::get_constraint_name(constraint)))
    };
    let code = PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST;
    Err(Report::new(code, format!("cannot drop index {index} because a constraint requires it"))
        .hint(format!("You can drop constraint {constraint} instead.")))
}

/// REINDEX CONCURRENTLY, if it is about a sharded table or an index of one.
///
/// # Safety
/// `statement` is a valid ReindexStmt.
pub unsafe fn before_reindex(
    statement: *mut pg_sys::ReindexStmt,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    use pg_sys::ReindexObjectType::{REINDEX_OBJECT_INDEX, REINDEX_OBJECT_TABLE};
    // SAFETY: the caller's; params is a list of DefElem.
    let named = unsafe {
        let is_one = matches!((*statement).kind, REINDEX_OBJECT_INDEX | REINDEX_OBJECT_TABLE);
        let is_concurrent = elements::<pg_sys::DefElem>((*statement).params).any(|option| {
            text((*option).defname) == "concurrently" && pg_sys::defGetBoolean(option)
        });
        if !is_one || !is_concurrent {
            return Ok(Step::Pass);
        }
        relation_of((*statement).relation)
    };
    let Some(named) = named else { return Ok(Step::Pass) };
    let rel = table_of_index(named);
    let registry = registry()?;
    let Some(table) = registry.table_of(rel).map(|table| table.table_id) else {
        return Ok(Step::Pass);
    };
    // SAFETY: the caller's.
    unsafe { check_alone(context, c"REINDEX CONCURRENTLY")? };
    check_owner(named)?;
    let index = (named != rel).then(|| qualified_name(named));
    submit_and_wait(JobKind::Reindex { table, relation: qualified_name(rel), index })?;
    Ok(Step::DoneAs(pg_sys::CommandTag::CMDTAG_REINDEX))
}

fn check_owner(rel: pg_sys::Oid) -> Result<(), Report> {
    // SAFETY: syscache look-ups.
    let is_owner = unsafe { pg_sys::pg_class_ownercheck(rel, pg_sys::GetUserId()) };
    if is_owner {
        return Ok(());
    }
    // SAFETY: as above; a palloc'd name or null.
    let name = unsafe { text(pg_sys::get_rel_name(rel)) };
    let code = PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE;
    Err(Report::new(code, format!("must be owner of relation {name}")))
}

/// Whether the name is taken and IF NOT EXISTS was said; an error without it.
unsafe fn is_taken(statement: *mut pg_sys::IndexStmt, parent: pg_sys::Oid) -> Result<bool, Report> {
    // SAFETY: the caller's; syscache look-ups.
    unsafe {
        let name = text((*statement).idxname);
        let namespace = pg_sys::get_rel_namespace(parent);
        if pg_sys::get_relname_relid((*statement).idxname, namespace) == pg_sys::InvalidOid {
            return Ok(false);
        }
        let message = format!("relation \"{name}\" already exists");
        if (*statement).if_not_exists {
            notice!("{message}, skipping");
            return Ok(true);
        }
        Err(Report::new(PgSqlErrorCode::ERRCODE_DUPLICATE_TABLE, message))
    }
}

/// Runs something and takes it back.
fn in_vain<R>(work: impl FnOnce() -> Result<R, Report>) -> Result<R, Report> {
    // SAFETY: guarded calls; the subtransaction ends in any case, since an
    // abort of the statement would end only it.
    unsafe {
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        let _own_work = OwnWork::begin();
        let context = AssertUnwindSafe(pg_sys::CurrentMemoryContext);
        let done = PgTryBuilder::new(AssertUnwindSafe(work))
            .catch_others(move |error| {
                pg_sys::MemoryContextSwitchTo(*context);
                pg_sys::RollbackAndReleaseCurrentSubTransaction();
                error.rethrow()
            })
            .execute();
        pg_sys::RollbackAndReleaseCurrentSubTransaction();
        done
    }
}

/// Makes the index on the table `name` in the schema of leaves.
///
/// SAFETY: as for `create_index`.
unsafe fn create_on(statement: *mut pg_sys::IndexStmt, name: &str) {
    // SAFETY: the caller's; guarded calls on copies in the current context.
    unsafe {
        let tried: *mut pg_sys::IndexStmt = pg_sys::copyObjectImpl(statement.cast()).cast();
        let copied = |text: &str| {
            let text = CString::new(text).unwrap_or_default();
            pg_sys::pstrdup(text.as_ptr())
        };
        (*tried).relation = pg_sys::makeRangeVar(copied(LEAF_SCHEMA), copied(name), -1);
        (*tried).concurrent = false;
        let mut planned = PgBox::<pg_sys::PlannedStmt>::alloc_node(pg_sys::NodeTag::T_PlannedStmt);
        planned.commandType = pg_sys::CmdType::CMD_UTILITY;
        planned.utilityStmt = tried.cast();
        pg_sys::ProcessUtility(
            planned.into_pg(),
            c"CREATE INDEX".as_ptr(),
            false,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_QUERY,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            std::ptr::null_mut(),
        );
        pg_sys::CommandCounterIncrement();
    }
}

/// Has PostgreSQL make the index on an empty copy of the table, which finds
/// every mistake and every name's meaning at once, and takes that back.
unsafe fn describe(
    statement: *mut pg_sys::IndexStmt,
    parent: pg_sys::Oid,
) -> Result<IndexBuild, Report> {
    let registry = registry()?;
    let table = registry.table_of(parent).map(|table| table.table_id);
    let table = table.ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "CREATE INDEX CONCURRENTLY is not supported on replicated tables",
        )
        .hint("Use CREATE INDEX.")
    })?;
    let name = format!("job_{table}");
    let copy = format!("{LEAF_SCHEMA}.{}", quote_identifier(&name));
    let user = quote_identifier(&current_user());
    let described = in_vain(|| {
        let rights = SchemaRights::borrow()?;
        {
            let _acting = ActingAs::owner_of_the_catalogs();
            let key = Spi::get_one_with_args::<String>(
                "SELECT pg_catalog.pg_get_partkeydef($1)",
                &[parent.into()],
            )?;
            let key = key.unwrap_or_default();
            let like = qualified_name(parent);
            Spi::run(&format!(
                "CREATE TABLE {copy} (LIKE {like} INCLUDING GENERATED) PARTITION BY {key}"
            ))?;
            Spi::run(&format!("ALTER TABLE {copy} OWNER TO {user}"))?;
        }
        // SAFETY: the caller's.
        unsafe { create_on(statement, &name) };
        let described = {
            let _acting = ActingAs::owner_of_the_catalogs();
            Spi::get_one_with_args::<String>(
                "SELECT shardman.describe_index(indexrelid) FROM pg_catalog.pg_index
                 WHERE indrelid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass",
                &[copy.clone().into()],
            )?
        };
        rights.give_back()?;
        Ok(described.unwrap_or_default())
    })?;
    let definition = described
        .split_once(&format!(" ON {LEAF_SCHEMA}.{name} "))
        .map(|(_, rest)| rest.to_owned());
    // SAFETY: the caller's.
    let (name, is_unique, tablespace) = unsafe {
        let name = (*statement).idxname;
        let name = (!name.is_null()).then(|| text(name));
        (name, (*statement).unique, text((*statement).tableSpace))
    };
    if !tablespace.is_empty() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "TABLESPACE is not supported with CONCURRENTLY on sharded tables",
        ));
    }
    let definition = definition.ok_or_else(|| {
        Report::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "could not read the index's definition")
            .detail(described.clone())
    })?;
    Ok(IndexBuild { table, relation: qualified_name(parent), name, is_unique, definition })
}
