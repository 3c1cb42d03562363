//! Restoring what pg_dump took from a node (`shardman.restoring`): partitions are
//! made as it wrote them, on this node alone, and `shardman.repair()` makes
//! sharded tables of them.
#![allow(unsafe_code)]

use cluster::sharding::REMOTE_SCHEMA;
use pgrx::prelude::*;

use super::fences::{is_leaf_schema, relation_of, table_of_index};
use super::requested::read_options;
use super::step::Step;
use super::target::relations_of;
use crate::catalog::{ActingAs, registry};
use crate::lists::text;
use crate::report::Report;

/// How a statement runs while a dump is restored: on this node, by PostgreSQL
/// alone, if it is about relations that are not managed. `None` for all others.
///
/// # Safety
/// `pstmt` is a valid utility statement.
pub unsafe fn before(pstmt: *mut pg_sys::PlannedStmt) -> Result<Option<Step>, Report> {
    use pg_sys::NodeTag;
    // SAFETY: the caller's; each arm casts to the struct that the tag names.
    unsafe {
        let statement = (*pstmt).utilityStmt;
        let (about, must_be_leaf) = match (*statement).type_ {
            NodeTag::T_CreateForeignTableStmt => {
                let create: *mut pg_sys::CreateForeignTableStmt = statement.cast();
                let schema = text((*(*create).base.relation).schemaname);
                return Ok((schema == REMOTE_SCHEMA).then(|| as_table(pstmt)));
            }
            NodeTag::T_CreateStmt => {
                let create: *mut pg_sys::CreateStmt = statement.cast();
                // What asks for a sharded or replicated table gets one.
                let requested = read_options((*create).options)?;
                let is_ours = requested.distribution.is_some() || requested.is_replicated;
                return Ok((!is_ours).then_some(Step::Pass));
            }
            NodeTag::T_CreateSeqStmt | NodeTag::T_ViewStmt => return Ok(Some(Step::Pass)),
            NodeTag::T_AlterTableStmt => {
                ((*statement.cast::<pg_sys::AlterTableStmt>()).relation, false)
            }
            NodeTag::T_IndexStmt => ((*statement.cast::<pg_sys::IndexStmt>()).relation, false),
            NodeTag::T_AlterSeqStmt => {
                ((*statement.cast::<pg_sys::AlterSeqStmt>()).sequence, false)
            }
            NodeTag::T_CreateTrigStmt => {
                ((*statement.cast::<pg_sys::CreateTrigStmt>()).relation, false)
            }
            NodeTag::T_CreatePolicyStmt => {
                ((*statement.cast::<pg_sys::CreatePolicyStmt>()).table, false)
            }
            NodeTag::T_CopyStmt => ((*statement.cast::<pg_sys::CopyStmt>()).relation, true),
            NodeTag::T_GrantStmt | NodeTag::T_CommentStmt | NodeTag::T_CreateStatsStmt => {
                let named = relations_of(statement)?;
                let known = registry()?;
                let is_local = |rel: &pg_sys::Oid| {
                    known.managed_id(table_of_index(*rel)).is_none()
                        && known.sequence(*rel).is_none()
                };
                let is_ours = !named.is_empty() && named.iter().all(is_local);
                return Ok(is_ours.then_some(Step::Pass));
            }
            _ => return Ok(None),
        };
        let Some(rel) = relation_of(about) else { return Ok(None) };
        let known = registry()?;
        let is_known =
            known.managed_id(table_of_index(rel)).is_some() || known.sequence(rel).is_some();
        if is_known || (must_be_leaf && !is_leaf_schema(rel)) || is_attached(rel)? {
            return Ok(None);
        }
        Ok(Some(alter_as_table(pstmt)))
    }
}

/// Whether it is a partition of a table of this cluster.
fn is_attached(rel: pg_sys::Oid) -> Result<bool, Report> {
    let table = table_of_index(rel);
    if !is_leaf_schema(table) {
        return Ok(false);
    }
    let parent = {
        let _acting = ActingAs::owner_of_the_catalogs();
        Spi::get_one_with_args::<pg_sys::Oid>(
            "SELECT pg_catalog.max(inhparent) FROM pg_catalog.pg_inherits
             WHERE inhrelid OPERATOR(pg_catalog.=) $1",
            &[table.into()],
        )?
    };
    let Some(parent) = parent else { return Ok(false) };
    Ok(registry()?.managed_id(parent).is_some())
}

/// CREATE FOREIGN TABLE of a leaf that lay on another node: a table, which can take
/// the rows that pg_dump has read there.
///
/// SAFETY: a valid CREATE FOREIGN TABLE.
unsafe fn as_table(pstmt: *mut pg_sys::PlannedStmt) -> Step {
    // SAFETY: the caller's; the statement begins with a CreateStmt, so the copy may
    // be taken for one.
    unsafe {
        let copy: *mut pg_sys::PlannedStmt = pg_sys::copyObjectImpl(pstmt.cast()).cast();
        (*(*copy).utilityStmt).type_ = pg_sys::NodeTag::T_CreateStmt;
        Step::Run { statement: copy, finish: None }
    }
}

/// ALTER FOREIGN TABLE of such a leaf is ALTER TABLE.
///
/// SAFETY: a valid utility statement.
unsafe fn alter_as_table(pstmt: *mut pg_sys::PlannedStmt) -> Step {
    // SAFETY: the caller's; casts follow the tag.
    unsafe {
        let statement = (*pstmt).utilityStmt;
        let is_foreign = (*statement).type_ == pg_sys::NodeTag::T_AlterTableStmt
            && (*statement.cast::<pg_sys::AlterTableStmt>()).objtype
                == pg_sys::ObjectType::OBJECT_FOREIGN_TABLE;
        if !is_foreign {
            return Step::Pass;
        }
        let copy: *mut pg_sys::PlannedStmt = pg_sys::copyObjectImpl(pstmt.cast()).cast();
        let alter: *mut pg_sys::AlterTableStmt = (*copy).utilityStmt.cast();
        (*alter).objtype = pg_sys::ObjectType::OBJECT_TABLE;
        Step::Run { statement: copy, finish: None }
    }
}
