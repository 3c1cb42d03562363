//! `ALTER TABLE … SET (fillfactor = …)` and `RESET` of a sharded table. A parent
//! has no storage parameters; they are those of its real leaves, and of those
//! that are made later.
#![allow(unsafe_code)]

use cluster::TableId;
use cluster::sharding::{NodeCommand, StorageParameter};
use pgrx::prelude::*;

use super::broadcast::is_broadcasting;
use super::fences::relation_of;
use super::requested::print_parameter;
use super::step::Step;
use super::{OwnWork, lock_ddl};
use crate::catalog::{ActingAs, note_changed_tables, registry};
use crate::lists::{elements, text};
use crate::node_session::is_node_session;
use crate::peers;
use crate::report::Report;

/// Looks at an ALTER TABLE. One that does other things besides is not taken.
///
/// # Safety
/// `statement` is a valid AlterTableStmt.
pub unsafe fn before(statement: *mut pg_sys::AlterTableStmt) -> Result<Step, Report> {
    use pg_sys::AlterTableType::{AT_ResetRelOptions, AT_SetRelOptions};
    let is_reset = |command: *mut pg_sys::AlterTableCmd| {
        // SAFETY: the statement's own command.
        unsafe { (*command).subtype == AT_ResetRelOptions }
    };
    // SAFETY: the caller's; the grammar makes lists of AlterTableCmd and, for
    // these two, of DefElem; ownership is a catalogue look-up.
    let (table, set, reset) = unsafe {
        let mut commands = elements::<pg_sys::AlterTableCmd>((*statement).cmds);
        let is_storage = (*statement).objtype == pg_sys::ObjectType::OBJECT_TABLE
            && commands.all(|c| matches!((*c).subtype, AT_SetRelOptions | AT_ResetRelOptions));
        if !is_storage || is_node_session() || is_broadcasting() {
            return Ok(Step::Pass);
        }
        let Some(rel) = relation_of((*statement).relation) else { return Ok(Step::Pass) };
        let Some(table) = registry()?.table_of(rel).map(|table| table.table_id) else {
            return Ok(Step::Pass);
        };
        if !pg_sys::pg_class_ownercheck(rel, pg_sys::GetUserId()) {
            let name = text(pg_sys::get_rel_name(rel));
            let denied = PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE;
            return Err(Report::new(denied, format!("must be owner of table {name}")));
        }
        let print = |wants_reset: bool| {
            elements::<pg_sys::AlterTableCmd>((*statement).cmds)
                .filter(move |command| is_reset(*command) == wants_reset)
                .flat_map(|command| elements::<pg_sys::DefElem>((*command).def.cast()))
                .map(|option| {
                    print_parameter(&StorageParameter {
                        namespace: (!(*option).defnamespace.is_null())
                            .then(|| text((*option).defnamespace)),
                        name: text((*option).defname),
                        value: (!(*option).arg.is_null())
                            .then(|| text(pg_sys::defGetString(option))),
                    })
                })
                .collect::<Vec<_>>()
        };
        (table, print(false), print(true))
    };
    lock_ddl()?;
    apply(table, &set, &reset)?;
    peers::tell_all(&NodeCommand::SetStorage { table, set, reset })?;
    Ok(Step::DoneAs(pg_sys::CommandTag::CMDTAG_ALTER_TABLE))
}

/// Changes the leaves of this node and what later ones are made with.
pub fn apply(table: TableId, set: &[String], reset: &[String]) -> Result<(), Report> {
    let registry = registry()?;
    let Some(table) = registry.table(table) else { return Ok(()) };
    let _own_work = OwnWork::begin();
    // Reading and writing reloptions evaluates nothing of the user's.
    let _acting = ActingAs::owner_of_the_catalogs();
    let leaves = Spi::get_one_with_args::<Vec<String>>(
        "SELECT pg_catalog.array_agg(pg_catalog.format('%I.%I', n.nspname, c.relname))
         FROM pg_catalog.pg_inherits AS i
              JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
              JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
         WHERE i.inhparent OPERATOR(pg_catalog.=) $1 AND c.relkind OPERATOR(pg_catalog.=) 'r'",
        &[table.rel.into()],
    )?;
    for leaf in leaves.unwrap_or_default() {
        for (verb, options) in [("SET", set), ("RESET", reset)] {
            if !options.is_empty() {
                Spi::run(&format!("ALTER TABLE {leaf} {verb} ({})", options.join(", ")))?;
            }
        }
    }
    let name_of = |option: &String| option.split(" = ").next().unwrap_or_default().to_owned();
    let gone: Vec<_> = set.iter().chain(reset).map(name_of).collect();
    let kept = table.leaf_options.iter().filter(|option| !gone.contains(&name_of(option)));
    let options: Vec<String> = kept.chain(set).cloned().collect();
    Spi::run_with_args(
        "UPDATE shardman.sharded_table SET leaf_options = $2
         WHERE table_id OPERATOR(pg_catalog.=) $1",
        &[(table.table_id.0 as i64).into(), options.into()],
    )?;
    note_changed_tables()
}
