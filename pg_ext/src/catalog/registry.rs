//! The shard map and the members, cached in the backend.
//!
//! Loaded whole by one look at each catalogue, dropped when any of them
//! changes (relcache invalidation, which whoever writes them must send).
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use cluster::{NodeId, SystemIdentifier, TableId};
use pgrx::prelude::*;

use super::ActingAs;
use crate::report::Report;

/// A row of `shardman.sharded_table`.
#[derive(Clone, Debug)]
pub struct ShardedTable {
    /// The same on every node.
    pub table_id: TableId,
    /// The parent's OID on this node.
    pub rel: pg_sys::Oid,
    /// Its colocation group.
    pub group_id: TableId,
    /// In order.
    pub distribution_columns: Vec<String>,
    /// Storage parameters of real leaves, as elements of a WITH list.
    pub leaf_options: Vec<String>,
}

/// A row of `shardman.node`.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// `host`, `port`, `dbname`.
    pub connstr: String,
    /// Of its data directory.
    pub system_identifier: SystemIdentifier,
    /// Whether it holds the schema.
    pub is_active: bool,
}

/// Everything this backend needs to know of the cluster to plan a statement.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    tables: Vec<ShardedTable>,
    by_rel: HashMap<pg_sys::Oid, usize>,
    by_id: HashMap<TableId, usize>,
    groups: HashMap<TableId, Vec<NodeId>>,
    members: Vec<Member>,
}

impl Registry {
    /// The sharded table with this parent.
    pub fn table_of(&self, rel: pg_sys::Oid) -> Option<&ShardedTable> {
        self.by_rel.get(&rel).map(|at| &self.tables[*at])
    }

    /// The sharded table with this id.
    pub fn table(&self, id: TableId) -> Option<&ShardedTable> {
        self.by_id.get(&id).map(|at| &self.tables[*at])
    }

    /// All sharded tables, by table id.
    pub fn tables(&self) -> &[ShardedTable] {
        &self.tables
    }

    /// The node of each partition of a group, by partition number.
    pub fn placement(&self, group: TableId) -> Option<&[NodeId]> {
        self.groups.get(&group).map(Vec::as_slice)
    }

    /// All members, by id.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One member.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}

thread_local! {
    static LOADED: RefCell<Option<Rc<Registry>>> = const { RefCell::new(None) };
    /// OIDs of the catalogues that the registry was loaded from.
    static SOURCES: Cell<[pg_sys::Oid; 3]> = const { Cell::new([pg_sys::InvalidOid; 3]) };
}

/// Registers the callback that drops the cache. Called once, at load.
pub fn init() {
    // SAFETY: the callback is a plain function that raises nothing.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(on_invalidation), pg_sys::Datum::from(0)) }
}

/// Drops the cache by hand.
pub fn forget_registry() {
    LOADED.with(|loaded| loaded.try_borrow_mut().ok().and_then(|mut slot| slot.take()));
}

unsafe extern "C-unwind" fn on_invalidation(_argument: pg_sys::Datum, rel: pg_sys::Oid) {
    if rel == pg_sys::InvalidOid || SOURCES.get().contains(&rel) {
        forget_registry();
    }
}

/// The cluster as the catalogues of this node have it. Empty outside the
/// cluster's database or before CREATE EXTENSION. Must run in a transaction.
pub fn registry() -> Result<Rc<Registry>, Report> {
    if let Some(loaded) = LOADED.with(|loaded| loaded.borrow().clone()) {
        return Ok(loaded);
    }
    let Some(sources) = sources() else { return Ok(Rc::default()) };
    // Known before the read, so that an invalidation during it is not missed:
    // it leaves LOADED empty, and what we read is then used once only.
    SOURCES.set(sources);
    let loaded = Rc::new(load()?);
    LOADED.with(|slot| *slot.borrow_mut() = Some(loaded.clone()));
    Ok(loaded)
}

fn sources() -> Option<[pg_sys::Oid; 3]> {
    // SAFETY: syscache look-ups by NUL-terminated names.
    unsafe {
        if !crate::in_cluster_database() {
            return None;
        }
        let namespace = pg_sys::get_namespace_oid(c"shardman".as_ptr(), true);
        if namespace == pg_sys::InvalidOid {
            return None;
        }
        let sources = [c"node", c"sharded_table", c"placement"]
            .map(|name| pg_sys::get_relname_relid(name.as_ptr(), namespace));
        (!sources.contains(&pg_sys::InvalidOid)).then_some(sources)
    }
}

fn load() -> Result<Registry, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let mut registry = Registry::default();
    Spi::connect(|client| -> Result<(), Report> {
        // No operators and no unqualified names: the user's search_path is in
        // force here.
        let tables = client.select(
            "SELECT table_id, rel, group_id, distribution_columns::pg_catalog.text[], leaf_options FROM shardman.sharded_table ORDER BY table_id",
            None,
            &[],
        )?;
        for row in tables {
            let table = ShardedTable {
                table_id: table_id(row.get::<i64>(1)?),
                rel: row.get::<pg_sys::Oid>(2)?.unwrap_or(pg_sys::InvalidOid),
                group_id: table_id(row.get::<i64>(3)?),
                distribution_columns: row.get::<Vec<String>>(4)?.unwrap_or_default(),
                leaf_options: row.get::<Vec<String>>(5)?.unwrap_or_default(),
            };
            registry.by_rel.insert(table.rel, registry.tables.len());
            registry.by_id.insert(table.table_id, registry.tables.len());
            registry.tables.push(table);
        }
        let placements = client.select(
            "SELECT group_id, node_id FROM shardman.placement ORDER BY group_id, pnum",
            None,
            &[],
        )?;
        for row in placements {
            let group = table_id(row.get::<i64>(1)?);
            registry.groups.entry(group).or_default().push(node_id(row.get::<i32>(2)?));
        }
        let members = client.select(
            "SELECT id, name, connstr, system_identifier, state FROM shardman.node ORDER BY id",
            None,
            &[],
        )?;
        for row in members {
            registry.members.push(Member {
                id: node_id(row.get::<i32>(1)?),
                name: row.get::<String>(2)?.unwrap_or_default(),
                connstr: row.get::<String>(3)?.unwrap_or_default(),
                system_identifier: SystemIdentifier(row.get::<i64>(4)?.unwrap_or_default() as u64),
                is_active: row.get::<String>(5)?.as_deref() == Some("active"),
            });
        }
        Ok(())
    })?;
    Ok(registry)
}

fn table_id(value: Option<i64>) -> TableId {
    TableId(value.and_then(|v| u64::try_from(v).ok()).unwrap_or_default())
}

fn node_id(value: Option<i32>) -> NodeId {
    NodeId(value.and_then(|v| u32::try_from(v).ok()).unwrap_or_default())
}
