//! Adding and dropping foreign keys of a parent.
#![allow(unsafe_code)]

use cluster::TableId;
use cluster::sharding::{ForeignKeyDefinition, NodeCommand, quote_identifier};
use pgrx::prelude::*;

use super::checks::{check_constraint, check_reference};
use super::leaves::enforce;
use super::taken::Taken;
use crate::catalog::{ActingAs, definition_of, qualified_name, registry};
use crate::ddl::OwnWork;
use crate::ddl::fences::relation_of;
use crate::ddl::hide::Hidden;
use crate::lists::list_of;
use crate::peers;
use crate::report::Report;

/// Adds what a user's statement asks for to the sharded table `rel`, which has
/// its leaves, here and on all other nodes. The DDL lock is held.
pub fn add(rel: pg_sys::Oid, taken: &Taken) -> Result<(), Report> {
    if taken.is_empty() {
        return Ok(());
    }
    let before = foreign_keys_of(rel)?;
    for constraint in &taken.constraints {
        // SAFETY: `Taken` holds valid foreign-key constraints.
        let referenced = unsafe { relation_of((**constraint).pktable) };
        if let Some(referenced) = referenced {
            // SAFETY: as above.
            unsafe { check_reference(*constraint, rel, referenced) }?;
        }
        let run = || {
            // SAFETY: as above.
            unsafe { run_alter_table(rel, *constraint) }
        };
        // Without the referenced table PostgreSQL says what is wrong.
        add_to_parent(rel, referenced.unwrap_or(rel), run)?;
    }
    let registry = registry()?;
    let Some(table) = registry.table_of(rel) else { return Ok(()) };
    let all = definition_of(table)?.foreign_keys;
    let new: Vec<_> = all.into_iter().filter(|key| !before.contains(&key.name)).collect();
    peers::tell_all(&NodeCommand::AddForeignKeys { table: table.table_id, foreign_keys: new })
}

/// Adds foreign keys that another node has, or this one had.
pub fn add_defined(table: TableId, foreign_keys: &[ForeignKeyDefinition]) -> Result<(), Report> {
    let rel = rel_of(table)?;
    let present = foreign_keys_of(rel)?;
    for key in foreign_keys.iter().filter(|key| !present.contains(&key.name)) {
        let (parent, name) = (qualified_name(rel), quote_identifier(&key.name));
        let run = || {
            let definition = &key.definition;
            Ok(Spi::run(&format!("ALTER TABLE {parent} ADD CONSTRAINT {name} {definition}"))?)
        };
        if registry()?.replicated_of(rel).is_some() {
            let _own_work = OwnWork::begin();
            run()?;
        } else {
            add_to_parent(rel, rel_of(key.references)?, run)?;
        }
        if let Some(comment) = &key.comment {
            let _own_work = OwnWork::begin();
            let comment = pgrx::spi::quote_literal(comment);
            Spi::run(&format!("COMMENT ON CONSTRAINT {name} ON {parent} IS {comment}"))?;
        }
    }
    Ok(())
}

/// The same on every node.
pub fn add_defined_everywhere(
    table: TableId,
    foreign_keys: &[ForeignKeyDefinition],
) -> Result<(), Report> {
    add_defined(table, foreign_keys)?;
    peers::tell_all(&NodeCommand::AddForeignKeys { table, foreign_keys: foreign_keys.to_vec() })
}

/// Drops some by name, with those of the leaves.
pub fn drop_named(table: TableId, names: &[String]) -> Result<(), Report> {
    let parent = qualified_name(rel_of(table)?);
    let _own_work = OwnWork::begin();
    names.iter().try_for_each(|name| {
        let name = quote_identifier(name);
        Ok(Spi::run(&format!("ALTER TABLE {parent} DROP CONSTRAINT {name}"))?)
    })
}

/// Has PostgreSQL make the parent's constraint over two tables without leaves,
/// with all its checks; then makes it what it is for us.
fn add_to_parent(
    rel: pg_sys::Oid,
    referenced: pg_sys::Oid,
    run: impl FnOnce() -> Result<(), Report>,
) -> Result<(), Report> {
    let before = constraint_oids(rel)?;
    let own = Hidden::hide_all(rel)?;
    let other = (referenced != rel).then(|| Hidden::hide_all(referenced)).transpose()?;
    {
        let _own_work = OwnWork::begin();
        run()?;
    }
    // SAFETY: makes visible what the statement did.
    unsafe { pg_sys::CommandCounterIncrement() };
    own.show()?;
    other.map_or(Ok(()), |other| other.show())?;
    for constraint in constraint_oids(rel)?.into_iter().filter(|oid| !before.contains(oid)) {
        check_constraint(constraint)?;
        drop_triggers(constraint, rel, referenced)?;
    }
    enforce(rel, None)
}

/// `ALTER TABLE rel ADD` a constraint that is a parse node: its names mean what
/// they mean to the user.
///
/// SAFETY: a valid foreign-key Constraint in a live memory context.
unsafe fn run_alter_table(
    rel: pg_sys::Oid,
    constraint: *mut pg_sys::Constraint,
) -> Result<(), Report> {
    use pg_sys::NodeTag;
    // SAFETY: nodes are zeroed and tagged in the current memory context; the
    // names are palloc'd copies; the query string is only quoted in messages.
    unsafe {
        (*constraint).location = -1;
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(rel));
        let range = pg_sys::makeRangeVar(schema, pg_sys::get_rel_name(rel), -1);
        let mut command = PgBox::<pg_sys::AlterTableCmd>::alloc_node(NodeTag::T_AlterTableCmd);
        command.subtype = pg_sys::AlterTableType::AT_AddConstraint;
        command.def = constraint.cast();
        command.behavior = pg_sys::DropBehavior::DROP_RESTRICT;
        let mut alter = PgBox::<pg_sys::AlterTableStmt>::alloc_node(NodeTag::T_AlterTableStmt);
        alter.relation = range;
        alter.objtype = pg_sys::ObjectType::OBJECT_TABLE;
        alter.cmds = list_of([command.into_pg()]);
        let mut statement = PgBox::<pg_sys::PlannedStmt>::alloc_node(NodeTag::T_PlannedStmt);
        statement.commandType = pg_sys::CmdType::CMD_UTILITY;
        statement.utilityStmt = alter.into_pg().cast();
        statement.stmt_location = -1;
        pg_sys::ProcessUtility(
            statement.into_pg(),
            c"ALTER TABLE ADD FOREIGN KEY".as_ptr(),
            false,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            std::ptr::null_mut(),
        );
    }
    Ok(())
}

/// PostgreSQL's triggers on the parents would be of no use: no row is in a
/// parent, and what moves a row between partitions is refused where they would
/// matter.
fn drop_triggers(
    constraint: pg_sys::Oid,
    rel: pg_sys::Oid,
    referenced: pg_sys::Oid,
) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::run_with_args(
        "WITH gone AS (
             DELETE FROM pg_catalog.pg_trigger WHERE tgconstraint OPERATOR(pg_catalog.=) $1 RETURNING oid)
         DELETE FROM pg_catalog.pg_depend AS d USING gone
         WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass
           AND d.objid OPERATOR(pg_catalog.=) gone.oid",
        &[constraint.into()],
    )?;
    // SAFETY: both exist and are locked.
    unsafe {
        pg_sys::CacheInvalidateRelcacheByRelid(rel);
        pg_sys::CacheInvalidateRelcacheByRelid(referenced);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}

fn rel_of(table: TableId) -> Result<pg_sys::Oid, Report> {
    registry()?.managed_rel(table).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("table {table} of the cluster does not exist on this node"),
        )
    })
}

fn foreign_keys_of(rel: pg_sys::Oid) -> Result<Vec<String>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<String>>(
        "SELECT pg_catalog.array_agg(conname::pg_catalog.text) FROM pg_catalog.pg_constraint
         WHERE conrelid OPERATOR(pg_catalog.=) $1 AND contype OPERATOR(pg_catalog.=) 'f'",
        &[rel.into()],
    )?;
    Ok(found.unwrap_or_default())
}

fn constraint_oids(rel: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        "SELECT pg_catalog.array_agg(oid) FROM pg_catalog.pg_constraint
         WHERE conrelid OPERATOR(pg_catalog.=) $1 AND contype OPERATOR(pg_catalog.=) 'f'",
        &[rel.into()],
    )?;
    Ok(found.unwrap_or_default())
}
