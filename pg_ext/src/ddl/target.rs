//! Which sharded or replicated table a statement is about.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::fences::{is_leaf_schema, leaf_by_hand, relation_of, table_of_index};
use crate::catalog::{ActingAs, registry};
use crate::lists::{elements, text};
use crate::report::Report;

/// A sharded or replicated table that the statement changes: itself, or its columns, indexes,
/// constraints, triggers, policies, rules or statistics objects. One of them if
/// there are several. An error if it would change a leaf.
///
/// # Safety
/// `statement` is a valid utility statement.
pub unsafe fn sharded_target(statement: *mut pg_sys::Node) -> Result<Option<pg_sys::Oid>, Report> {
    // SAFETY: the caller's.
    let named = unsafe { relations_of(statement) }?;
    // SAFETY: the caller's.
    let only_locks = unsafe { (*statement).type_ == pg_sys::NodeTag::T_LockStmt };
    if let Some(leaf) = named.iter().find(|rel| is_leaf_schema(**rel))
        && !only_locks
    {
        return Err(leaf_by_hand(*leaf));
    }
    let registry = registry()?;
    let tables = named.into_iter().map(table_of_index);
    Ok(tables.into_iter().find(|rel| registry.managed_id(*rel).is_some()))
}

/// The relations that a statement names, as far as it can be about tables.
pub unsafe fn relations_of(statement: *mut pg_sys::Node) -> Result<Vec<pg_sys::Oid>, Report> {
    use pg_sys::NodeTag;
    // SAFETY: each arm casts to the struct that the tag names.
    let ranges: Vec<*mut pg_sys::RangeVar> = unsafe {
        match (*statement).type_ {
            NodeTag::T_AlterTableStmt => {
                vec![(*statement.cast::<pg_sys::AlterTableStmt>()).relation]
            }
            NodeTag::T_RenameStmt => {
                let rename: *mut pg_sys::RenameStmt = statement.cast();
                if (*rename).renameType == pg_sys::ObjectType::OBJECT_SCHEMA {
                    return in_schema(&text((*rename).subname));
                }
                if (*rename).renameType == pg_sys::ObjectType::OBJECT_STATISTIC_EXT {
                    return statistics_table((*rename).object.cast());
                }
                vec![(*rename).relation]
            }
            NodeTag::T_AlterObjectSchemaStmt => {
                vec![(*statement.cast::<pg_sys::AlterObjectSchemaStmt>()).relation]
            }
            NodeTag::T_AlterObjectDependsStmt => {
                vec![(*statement.cast::<pg_sys::AlterObjectDependsStmt>()).relation]
            }
            NodeTag::T_AlterOwnerStmt => {
                let alter: *mut pg_sys::AlterOwnerStmt = statement.cast();
                if (*alter).objectType == pg_sys::ObjectType::OBJECT_SCHEMA {
                    return in_schema(&text((*(*alter).object.cast::<pg_sys::String>()).sval));
                }
                if (*alter).objectType == pg_sys::ObjectType::OBJECT_STATISTIC_EXT {
                    return statistics_table((*alter).object.cast());
                }
                return Ok(Vec::new());
            }
            NodeTag::T_AlterStatsStmt => {
                return statistics_table((*statement.cast::<pg_sys::AlterStatsStmt>()).defnames);
            }
            NodeTag::T_AlterSeqStmt => vec![(*statement.cast::<pg_sys::AlterSeqStmt>()).sequence],
            NodeTag::T_CreateTrigStmt => {
                vec![(*statement.cast::<pg_sys::CreateTrigStmt>()).relation]
            }
            NodeTag::T_RuleStmt => vec![(*statement.cast::<pg_sys::RuleStmt>()).relation],
            NodeTag::T_CreatePolicyStmt => {
                vec![(*statement.cast::<pg_sys::CreatePolicyStmt>()).table]
            }
            NodeTag::T_AlterPolicyStmt => {
                vec![(*statement.cast::<pg_sys::AlterPolicyStmt>()).table]
            }
            NodeTag::T_CreateStatsStmt => {
                elements((*statement.cast::<pg_sys::CreateStatsStmt>()).relations).collect()
            }
            NodeTag::T_LockStmt => {
                elements((*statement.cast::<pg_sys::LockStmt>()).relations).collect()
            }
            NodeTag::T_GrantStmt => {
                let grant: *mut pg_sys::GrantStmt = statement.cast();
                if (*grant).objtype == pg_sys::ObjectType::OBJECT_SEQUENCE
                    && (*grant).targtype == pg_sys::GrantTargetType::ACL_TARGET_OBJECT
                {
                    let sequences = elements::<pg_sys::RangeVar>((*grant).objects);
                    return Ok(sequences.filter_map(|range| relation_of(range)).collect());
                }
                if (*grant).objtype != pg_sys::ObjectType::OBJECT_TABLE {
                    return Ok(Vec::new());
                }
                if (*grant).targtype == pg_sys::GrantTargetType::ACL_TARGET_ALL_IN_SCHEMA {
                    let schemas = elements::<pg_sys::String>((*grant).objects);
                    let tables = schemas.map(|schema| in_schema(&text((*schema).sval)));
                    return Ok(tables.collect::<Result<Vec<_>, _>>()?.concat());
                }
                elements((*grant).objects).collect()
            }
            NodeTag::T_CommentStmt => {
                let comment: *mut pg_sys::CommentStmt = statement.cast();
                return object_table((*comment).objtype, (*comment).object);
            }
            NodeTag::T_SecLabelStmt => {
                let label: *mut pg_sys::SecLabelStmt = statement.cast();
                return object_table((*label).objtype, (*label).object);
            }
            NodeTag::T_DropStmt => {
                let drop: *mut pg_sys::DropStmt = statement.cast();
                let objects = elements::<pg_sys::Node>((*drop).objects);
                let tables = objects.map(|object| object_table((*drop).removeType, object));
                return Ok(tables.collect::<Result<Vec<_>, _>>()?.concat());
            }
            NodeTag::T_ReassignOwnedStmt => {
                let reassign: *mut pg_sys::ReassignOwnedStmt = statement.cast();
                return owned_by((*reassign).roles);
            }
            _ => Vec::new(),
        }
    };
    // SAFETY: RangeVars of the statement.
    Ok(ranges.into_iter().filter_map(|range| unsafe { relation_of(range) }).collect())
}

/// The relation that an object name of COMMENT, SECURITY LABEL or DROP is about.
unsafe fn object_table(
    kind: pg_sys::ObjectType::Type,
    object: *mut pg_sys::Node,
) -> Result<Vec<pg_sys::Oid>, Report> {
    use pg_sys::ObjectType::*;
    // SAFETY: for these kinds the grammar makes a list of name strings, the
    // object's own name last where it has one beside its table's.
    unsafe {
        let names: *mut pg_sys::List = object.cast();
        let relation = match kind {
            OBJECT_TABLE | OBJECT_INDEX | OBJECT_SEQUENCE => names,
            OBJECT_COLUMN | OBJECT_TABCONSTRAINT | OBJECT_TRIGGER | OBJECT_POLICY | OBJECT_RULE => {
                if names.is_null() || (*names).length < 2 {
                    return Ok(Vec::new());
                }
                pg_sys::list_truncate(pg_sys::list_copy(names), (*names).length - 1)
            }
            OBJECT_STATISTIC_EXT => return statistics_table(names),
            _ => return Ok(Vec::new()),
        };
        let range = pg_sys::makeRangeVarFromNameList(relation);
        Ok(relation_of(range).into_iter().collect())
    }
}

unsafe fn statistics_table(names: *mut pg_sys::List) -> Result<Vec<pg_sys::Oid>, Report> {
    // SAFETY: the caller's list of name strings; missing_ok.
    let oid = unsafe { pg_sys::get_statistics_object_oid(names, true) };
    if oid == pg_sys::InvalidOid {
        return Ok(Vec::new());
    }
    relations(
        "SELECT stxrelid FROM pg_catalog.pg_statistic_ext WHERE oid OPERATOR(pg_catalog.=) $1",
        oid.into(),
    )
}

/// The sharded tables in a schema.
fn in_schema(schema: &str) -> Result<Vec<pg_sys::Oid>, Report> {
    relations(
        "SELECT t.rel FROM (SELECT rel FROM shardman.sharded_table UNION ALL SELECT rel FROM shardman.replicated_table) AS t
              JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.rel
              JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
         WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name",
        schema.into(),
    )
}

/// The sharded tables of some roles.
unsafe fn owned_by(roles: *mut pg_sys::List) -> Result<Vec<pg_sys::Oid>, Report> {
    // SAFETY: the caller's list of RoleSpecs.
    let owners: Vec<pg_sys::Oid> = unsafe {
        elements::<pg_sys::RoleSpec>(roles)
            .map(|role| pg_sys::get_rolespec_oid(role, true))
            .collect()
    };
    relations(
        "SELECT t.rel FROM (SELECT rel FROM shardman.sharded_table UNION ALL SELECT rel FROM shardman.replicated_table) AS t
              JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.rel
         WHERE c.relowner OPERATOR(pg_catalog.=) ANY ($1)",
        owners.into(),
    )
}

fn relations(
    query: &str,
    argument: pgrx::datum::DatumWithOid<'_>,
) -> Result<Vec<pg_sys::Oid>, Report> {
    if !crate::catalog::is_installed() {
        return Ok(Vec::new());
    }
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::connect(|client| {
        let rows = client.select(query, None, &[argument])?;
        let oids = rows.map(|row| row.get::<pg_sys::Oid>(1));
        Ok(oids.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    })
}
