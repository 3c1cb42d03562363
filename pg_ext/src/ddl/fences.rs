//! What is refused: statements about leaves, and new relations beside them.
#![allow(unsafe_code)]

use cluster::sharding::{LEAF_SCHEMA, LeafName, MOVING_SCHEMA, REMOTE_SCHEMA};
use pgrx::prelude::*;

use crate::catalog::registry;
use crate::lists::{elements, text};
use crate::report::Report;

/// Whether a relation lies in a schema of leaves.
pub fn is_leaf_schema(rel: pg_sys::Oid) -> bool {
    is_leaf_namespace(unsafe {
        // SAFETY: a syscache look-up.
        pg_sys::get_rel_namespace(rel)
    })
}

/// Whether a namespace is one of those that hold leaves.
pub fn is_leaf_namespace(namespace: pg_sys::Oid) -> bool {
    if namespace == pg_sys::InvalidOid {
        return false;
    }
    // SAFETY: syscache look-ups; the name is palloc'd or null.
    let name = unsafe { text(pg_sys::get_namespace_name(namespace)) };
    [LEAF_SCHEMA, REMOTE_SCHEMA, MOVING_SCHEMA].contains(&name.as_str())
}

/// The refusal of DDL or DML on a leaf.
pub fn leaf_by_hand(rel: pg_sys::Oid) -> Report {
    // SAFETY: a syscache look-up; the name is palloc'd or null.
    let name = unsafe { text(pg_sys::get_rel_name(rel)) };
    let parent = LeafName::parse(&name).and_then(|leaf| {
        let registry = registry().ok()?;
        let parent = registry.table(leaf.table)?.rel;
        // SAFETY: as above.
        Some(unsafe { text(pg_sys::get_rel_name(parent)) })
    });
    let report = Report::new(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("cannot change \"{name}\" directly"),
    )
    .detail("It is a partition of a sharded table.");
    match parent {
        Some(parent) => report.hint(format!("Use the table \"{parent}\" instead.")),
        None => report.hint("Use the sharded table instead."),
    }
}

/// The OID of a relation that a statement names, without locking it.
pub unsafe fn relation_of(range: *mut pg_sys::RangeVar) -> Option<pg_sys::Oid> {
    if range.is_null() {
        return None;
    }
    // SAFETY: the caller's valid RangeVar; missing_ok, so InvalidOid for none.
    let rel = unsafe {
        pg_sys::RangeVarGetRelidExtended(
            range,
            pg_sys::NoLock as i32,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        )
    };
    (rel != pg_sys::InvalidOid).then_some(rel)
}

/// Refuses statements about leaves; lets everything else pass.
///
/// # Safety
/// `statement` is a valid utility statement.
pub unsafe fn check(statement: *mut pg_sys::Node) -> Result<(), Report> {
    use pg_sys::NodeTag;
    // SAFETY: each arm casts to the struct that the tag names.
    unsafe {
        match (*statement).type_ {
            NodeTag::T_TruncateStmt => {
                let truncate: *mut pg_sys::TruncateStmt = statement.cast();
                elements((*truncate).relations).try_for_each(|range| not_a_leaf(range))
            }
            NodeTag::T_CopyStmt => {
                let copy: *mut pg_sys::CopyStmt = statement.cast();
                if (*copy).is_from { not_a_leaf((*copy).relation) } else { Ok(()) }
            }
            NodeTag::T_CreateForeignTableStmt => {
                let create: *mut pg_sys::CreateForeignTableStmt = statement.cast();
                not_in_leaf_schemas((*create).base.relation)
            }
            NodeTag::T_CreateTableAsStmt => table_as(statement.cast()),
            _ => Ok(()),
        }
    }
}

/// Refuses a relation in the schemas of leaves. A node session's own statement
/// (TRUNCATE of a leaf) is no statement by hand.
unsafe fn not_a_leaf(range: *mut pg_sys::RangeVar) -> Result<(), Report> {
    // SAFETY: the caller's.
    match unsafe { relation_of(range) } {
        Some(rel) if is_leaf_schema(rel) && !crate::node_session::is_node_session() => {
            Err(leaf_by_hand(rel))
        }
        _ => Ok(()),
    }
}

/// The table of an index; any other relation as it is.
pub fn table_of_index(rel: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: syscache look-ups.
    let table = unsafe { pg_sys::IndexGetRelation(rel, true) };
    if table == pg_sys::InvalidOid { rel } else { table }
}

/// Refuses new relations in the schemas of leaves.
pub unsafe fn not_in_leaf_schemas(range: *mut pg_sys::RangeVar) -> Result<(), Report> {
    // SAFETY: the caller's valid RangeVar.
    unsafe {
        let schema = text((*range).schemaname);
        if ![LEAF_SCHEMA, REMOTE_SCHEMA, MOVING_SCHEMA].contains(&schema.as_str()) {
            return Ok(());
        }
        Err(Report::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("cannot create \"{}\" in schema \"{schema}\"", text((*range).relname)),
        )
        .detail("The schema holds partitions of sharded tables only.")
        .hint("Choose another schema."))
    }
}

unsafe fn table_as(statement: *mut pg_sys::CreateTableAsStmt) -> Result<(), Report> {
    // SAFETY: the grammar makes an IntoClause with a list of DefElem.
    unsafe {
        let into = (*statement).into;
        if into.is_null() {
            return Ok(());
        }
        let ours = elements::<pg_sys::DefElem>((*into).options).any(|option| {
            let name = text((*option).defname);
            matches!(name.as_str(), "replicated" | "global")
        });
        if !ours {
            return Ok(());
        }
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "CREATE TABLE AS cannot create a replicated table",
    )
    .hint("Use CREATE TABLE … WITH (…), then INSERT … SELECT."))
}
