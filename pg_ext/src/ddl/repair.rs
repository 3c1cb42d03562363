//! `shardman.repair()`: tables that pg_dump took from a node of another cluster are
//! sharded again. What is there after psql has restored them (see `restoring`) are
//! ordinary partitioned tables of this node; which of them are meant, catalogue
//! queries say (`catalog_sql/schema/repair.sql`).
#![allow(unsafe_code)]

use std::collections::HashMap;

use cluster::sharding::{StorageParameter, quote_identifier, separate_options};
use pgrx::prelude::*;

use super::distribute::{check_session, make_sharded, owner_of, storage_of};
use super::lock_ddl;
use crate::catalog::{ActingAs, qualified_name};
use crate::lists::text;
use crate::replicated;
use crate::report::{OrRaise, Report};

struct Restored {
    rel: pg_sys::Oid,
    columns: String,
    num_parts: i32,
    leaves: Vec<pg_sys::Oid>,
    kin: String,
    obstacle: Option<String>,
}

#[pg_extern(sql = false)]
fn repair() -> i32 {
    repair_all().or_raise()
}

fn repair_all() -> Result<i32, Report> {
    check_session()?;
    if restored()?.is_empty() {
        return Ok(0);
    }
    lock_ddl()?;
    crate::schema_change::note_other_work();
    // Once more: somebody else may have been at it.
    let tables = restored()?;
    if let Some(table) = tables.iter().find(|table| table.obstacle.is_some()) {
        let name = qualified_name(table.rel);
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot repair table {name}"),
        )
        .detail(table.obstacle.clone().unwrap_or_default())
        .hint("Drop what depends on it, and make it again afterwards."));
    }
    let foreign_keys: Vec<String> = list("SELECT shardman.restored_foreign_keys()")?;
    let references: Vec<pg_sys::Oid> = list("SELECT shardman.restored_references()")?;
    references.into_iter().try_for_each(replicated::replicate)?;
    // The names outlive the tables, which are made anew.
    let mut roots: HashMap<&str, String> = HashMap::new();
    for table in &tables {
        let name = qualified_name(table.rel);
        shard_again(table, roots.get(table.kin.as_str()).map(String::as_str))?;
        roots.entry(&table.kin).or_insert(name);
    }
    foreign_keys.iter().try_for_each(|statement| Spi::run(statement))?;
    Ok(i32::try_from(tables.len()).unwrap_or(i32::MAX))
}

fn shard_again(table: &Restored, root: Option<&str>) -> Result<(), Report> {
    let Restored { rel, columns, num_parts, leaves, .. } = table;
    // SAFETY: guarded calls; locks are held to the end of the transaction.
    unsafe {
        for locked in std::iter::once(rel).chain(leaves) {
            pg_sys::LockRelationOid(*locked, pg_sys::AccessExclusiveLock as i32);
        }
    }
    let option = |name: &str, value: String| StorageParameter {
        namespace: None,
        name: name.into(),
        value: Some(value),
    };
    let place = match root {
        Some(root) => option("colocate_with", root.to_owned()),
        None => option("num_parts", num_parts.to_string()),
    };
    let options = [option("distributed_by", columns.clone()), place];
    let requested = separate_options(options).map_err(Report::from)?;
    let Some(distribution) = requested.distribution else { return Ok(()) };
    let storage = leaves.first().map_or(Ok(Vec::new()), |leaf| storage_of(*leaf))?;
    // Its owner need not have the right to create tables where it is: pg_dump, too,
    // gives tables to their owners when they are there.
    let (name, owner) = (qualified_name(*rel), owner_of(*rel)?);
    // SAFETY: a variable of the backend; the name is palloc'd or null.
    let (me, owner_name) =
        unsafe { (pg_sys::GetUserId(), text(pg_sys::GetUserNameFromId(owner, false))) };
    make_sharded(*rel, me, distribution, storage, leaves)?;
    if owner == me {
        return Ok(());
    }
    Ok(Spi::run(&format!("ALTER TABLE {name} OWNER TO {}", quote_identifier(&owner_name)))?)
}

fn list<T: pgrx::FromDatum + pgrx::IntoDatum>(query: &str) -> Result<Vec<T>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::connect(|client| {
        let rows = client.select(query, None, &[])?;
        let mut all = Vec::new();
        for row in rows {
            all.extend(row.get::<T>(1)?);
        }
        Ok(all)
    })
}

fn restored() -> Result<Vec<Restored>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT rel, distribution_columns, num_parts, leaves, kin, obstacle FROM shardman.restored_tables()",
            None,
            &[],
        )?;
        let read = |row: pgrx::spi::SpiHeapTupleData<'_>| {
            Ok(Restored {
                rel: row.get(1)?.unwrap_or(pg_sys::InvalidOid),
                columns: row.get(2)?.unwrap_or_default(),
                num_parts: row.get(3)?.unwrap_or_default(),
                leaves: row.get(4)?.unwrap_or_default(),
                kin: row.get(5)?.unwrap_or_default(),
                obstacle: row.get(6)?,
            })
        };
        rows.map(read).collect()
    })
}
