//! Which foreign keys a sharded table can have, and what they keep from being
//! done.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::taken::referenced_name;
use crate::catalog::{ActingAs, qualified_name, registry};
use crate::ddl::fences::relation_of;
use crate::lists::{elements, text};
use crate::report::Report;

/// Refuses a reference to a table that is neither replicated nor of the same
/// colocation group.
///
/// # Safety
/// `constraint` is a valid foreign-key Constraint.
pub unsafe fn check_reference(
    constraint: *mut pg_sys::Constraint,
    rel: pg_sys::Oid,
    referenced: pg_sys::Oid,
) -> Result<(), Report> {
    let registry = registry()?;
    // SAFETY: the caller's; a syscache look-up.
    let (name, own_name) =
        unsafe { (referenced_name(constraint), text(pg_sys::get_rel_name(rel))) };
    let refused =
        |message: String| Report::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, message);
    let Some(own) = registry.table_of(rel) else { return Ok(()) };
    // It has every row on every node.
    if registry.triggered_of(referenced).is_some() {
        return Ok(());
    }
    let Some(other) = registry.table_of(referenced) else {
        return Err(refused(format!(
            "cannot reference table \"{name}\" from sharded table \"{own_name}\""
        ))
        .detail(format!("Table \"{name}\" is not sharded: its rows are on this node only, those of \"{own_name}\" on every node."))
        .hint(format!("Create \"{name}\" WITH (replicated), or WITH (distributed_by = …) and \"{own_name}\" WITH (distributed_by = …, colocate_with = '{name}').")));
    };
    if own.group_id != other.group_id {
        return Err(refused(format!(
            "cannot reference table \"{name}\" from sharded table \"{own_name}\": they are not colocated"
        ))
        .detail("A row and the row it references could be on different nodes, and each node can check its own rows only.")
        .hint(format!("Create \"{own_name}\" WITH (distributed_by = …, colocate_with = '{name}').")));
    }
    Ok(())
}

/// Refuses a parent's new foreign key whose rows need not be in partitions of
/// the same number, or whose actions would take them there.
pub fn check_constraint(constraint: pg_sys::Oid) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let row = Spi::connect(|client| {
        let rows = client.select(
            "WITH key AS (
                 SELECT k.*, p.columns, r.columns AS rcolumns
                 FROM pg_catalog.pg_constraint AS k
                      JOIN LATERAL (SELECT partattrs::pg_catalog.int2[] AS columns FROM pg_catalog.pg_partitioned_table
                                    WHERE partrelid OPERATOR(pg_catalog.=) k.conrelid) AS p ON true
                      JOIN LATERAL (SELECT partattrs::pg_catalog.int2[] AS columns FROM pg_catalog.pg_partitioned_table
                                    WHERE partrelid OPERATOR(pg_catalog.=) k.confrelid) AS r ON true
                 WHERE k.oid OPERATOR(pg_catalog.=) $1),
             part AS (
                 SELECT a.own, a.other FROM key, ROWS FROM (pg_catalog.unnest(key.columns), pg_catalog.unnest(key.rcolumns)) AS a(own, other)),
             pair AS (
                 SELECT b.own, b.other FROM key, ROWS FROM (pg_catalog.unnest(key.conkey), pg_catalog.unnest(key.confkey)) AS b(own, other))
             SELECT key.conname::pg_catalog.text,
                    (SELECT pg_catalog.count(*) FROM part
                     WHERE NOT EXISTS (SELECT FROM pair WHERE pair.own OPERATOR(pg_catalog.=) part.own
                                                          AND pair.other OPERATOR(pg_catalog.=) part.other)) OPERATOR(pg_catalog.=) 0,
                    key.confupdtype OPERATOR(pg_catalog.=) ANY ('{n,d}'::pg_catalog.\"char\"[]),
                    key.confdeltype OPERATOR(pg_catalog.=) ANY ('{n,d}'::pg_catalog.\"char\"[])
                    AND (key.confdelsetcols IS NULL OR key.confdelsetcols OPERATOR(pg_catalog.&&) key.columns),
                    (SELECT pg_catalog.string_agg(attname, ', ' ORDER BY part.own) FROM part
                          JOIN pg_catalog.pg_attribute AS a ON a.attnum OPERATOR(pg_catalog.=) part.own
                     WHERE a.attrelid OPERATOR(pg_catalog.=) key.conrelid),
                    (SELECT pg_catalog.string_agg(attname, ', ' ORDER BY part.own) FROM part
                          JOIN pg_catalog.pg_attribute AS a ON a.attnum OPERATOR(pg_catalog.=) part.other
                     WHERE a.attrelid OPERATOR(pg_catalog.=) key.confrelid)
             FROM key",
            Some(1),
            &[constraint.into()],
        )?;
        let mut found = None;
        for row in rows {
            let flag = |at| Ok::<_, Report>(row.get::<bool>(at)?.unwrap_or_default());
            let name = |at| Ok::<_, Report>(row.get::<String>(at)?.unwrap_or_default());
            found = Some((name(1)?, flag(2)?, flag(3)?, flag(4)?, name(5)?, name(6)?));
        }
        Ok::<_, Report>(found)
    })?;
    let Some((name, has_columns, sets_on_update, sets_on_delete, own, other)) = row else {
        return Ok(());
    };
    let refused = || {
        Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot create foreign key constraint \"{name}\" on a sharded table"),
        )
    };
    if !has_columns {
        return Err(refused()
            .detail(format!("It must have the distribution column ({own}) reference the other table's distribution column ({other}): otherwise a row and the row it references may lie on different nodes."))
            .hint(format!("Make the distribution columns part of the key: FOREIGN KEY ({own}, …) REFERENCES … ({other}, …).")));
    }
    if sets_on_update || sets_on_delete {
        let event = if sets_on_update { "UPDATE" } else { "DELETE" };
        let report = refused().detail(format!(
            "ON {event} would change the distribution column ({own}), and so move rows to other partitions."
        ));
        return Err(match sets_on_update {
            true => report.hint("Use ON UPDATE NO ACTION, RESTRICT or CASCADE."),
            false => report.hint("Name the other columns: ON DELETE SET NULL (column, …)."),
        });
    }
    Ok(())
}

/// Refuses a foreign key of a table that is not sharded to one that is.
///
/// # Safety
/// `statement` is a valid utility statement, of a table that is not sharded.
pub unsafe fn refuse_reference_from_outside(statement: *mut pg_sys::Node) -> Result<(), Report> {
    use pg_sys::NodeTag;
    let mut constraints: Vec<*mut pg_sys::Constraint> = Vec::new();
    // SAFETY: the caller's; casts follow the tags, lists are the grammar's.
    unsafe {
        let mut definitions: Vec<*mut pg_sys::Node> = Vec::new();
        match (*statement).type_ {
            NodeTag::T_CreateStmt => {
                definitions.extend(elements::<pg_sys::Node>(
                    (*statement.cast::<pg_sys::CreateStmt>()).tableElts,
                ));
            }
            NodeTag::T_AlterTableStmt => {
                let alter: *mut pg_sys::AlterTableStmt = statement.cast();
                definitions.extend(
                    elements::<pg_sys::AlterTableCmd>((*alter).cmds)
                        .map(|command| (*command).def)
                        .filter(|definition| !definition.is_null()),
                );
            }
            _ => {}
        }
        for definition in definitions {
            match (*definition).type_ {
                NodeTag::T_Constraint => constraints.push(definition.cast()),
                NodeTag::T_ColumnDef => constraints.extend(elements::<pg_sys::Constraint>(
                    (*definition.cast::<pg_sys::ColumnDef>()).constraints,
                )),
                _ => {}
            }
        }
        for constraint in constraints {
            if (*constraint).contype != pg_sys::ConstrType::CONSTR_FOREIGN {
                continue;
            }
            let Some(referenced) = relation_of((*constraint).pktable) else { continue };
            if registry()?.table_of(referenced).is_none() {
                continue;
            }
            let name = referenced_name(constraint);
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "cannot reference sharded table \"{name}\" from a table that is not sharded"
                ),
            )
            .detail("The referenced rows are on many nodes, and a node can check its own only.")
            .hint(format!(
                "Create the table WITH (distributed_by = …, colocate_with = '{name}')."
            )));
        }
    }
    Ok(())
}

/// The sharded tables that reference one of `rels`, directly or by way of
/// others, without `rels` themselves.
pub fn referencing_tables(rels: &[pg_sys::Oid]) -> Result<Vec<pg_sys::Oid>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        "WITH RECURSIVE reached(rel) AS (
             SELECT pg_catalog.unnest($1)
             UNION
             SELECT k.conrelid FROM reached
                  JOIN pg_catalog.pg_constraint AS k ON k.confrelid OPERATOR(pg_catalog.=) reached.rel
                       AND k.contype OPERATOR(pg_catalog.=) 'f'
                  JOIN shardman.sharded_table AS t ON t.rel OPERATOR(pg_catalog.=) k.conrelid)
         SELECT pg_catalog.array_agg(rel ORDER BY rel) FROM reached
         WHERE rel OPERATOR(pg_catalog.<>) ALL ($1)",
        &[rels.to_vec().into()],
    )?;
    Ok(found.unwrap_or_default())
}

/// `SET column = column`.
///
/// SAFETY: a valid TargetEntry of an UPDATE of one target.
unsafe fn is_own_value(target: *mut pg_sys::TargetEntry) -> bool {
    // SAFETY: the caller's; the tag names the struct.
    unsafe {
        let value: *mut pg_sys::Var = (*target).expr.cast();
        (*value).xpr.type_ == pg_sys::NodeTag::T_Var && (*value).varattno == (*target).resno
    }
}

/// Refuses an UPDATE that may take a referenced row to another partition where
/// the referencing rows would have to follow or to change: to the partitions it
/// is a deletion and an insertion, and ON DELETE would act.
///
/// # Safety
/// `query` is a valid, analysed query.
pub unsafe fn refuse_moves(query: *mut pg_sys::Query) -> Result<(), Report> {
    // SAFETY: the caller's; resultRelation is an index into the range table.
    let (rel, assigned) = unsafe {
        if (*query).commandType != pg_sys::CmdType::CMD_UPDATE {
            return Ok(());
        }
        let entry: *mut pg_sys::RangeTblEntry =
            pg_sys::list_nth((*query).rtable, (*query).resultRelation - 1).cast();
        if (*entry).relkind as u8 != pg_sys::RELKIND_PARTITIONED_TABLE {
            return Ok(());
        }
        let rel = (*entry).relid;
        let registry = registry()?;
        let Some(table) = registry.table_of(rel) else { return Ok(()) };
        let assigned = elements::<pg_sys::TargetEntry>((*query).targetList)
            .filter(|target| !(**target).resjunk && !is_own_value(*target))
            .map(|target| text(pg_sys::get_attname(rel, (*target).resno, true)))
            .find(|column| table.distribution_columns.contains(column));
        (rel, assigned)
    };
    let Some(column) = assigned else { return Ok(()) };
    let _acting = ActingAs::owner_of_the_catalogs();
    let acting = Spi::get_one_with_args::<String>(
        "SELECT conname::pg_catalog.text FROM pg_catalog.pg_constraint
         WHERE confrelid OPERATOR(pg_catalog.=) $1 AND contype OPERATOR(pg_catalog.=) 'f'
           AND (confdeltype OPERATOR(pg_catalog.<>) ALL ('{a,r}'::pg_catalog.\"char\"[])
                OR confupdtype OPERATOR(pg_catalog.<>) ALL ('{a,r}'::pg_catalog.\"char\"[]))
         UNION ALL SELECT NULL LIMIT 1",
        &[rel.into()],
    )?;
    let Some(constraint) = acting else { return Ok(()) };
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot change distribution column \"{column}\" of {}", qualified_name(rel)),
    )
    .detail(format!("Foreign key constraint \"{constraint}\" references the table, and its ON DELETE or ON UPDATE action cannot follow a row to another partition."))
    .hint("Insert a row with the new value, change the referencing rows, and delete the old row."))
}
