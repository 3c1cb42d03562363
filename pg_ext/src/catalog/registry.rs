//! The shard map and the members, cached in the backend.
//!
//! Loaded whole by one look at each catalogue, dropped when any of them
//! changes (relcache invalidation, which whoever writes them must send).
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::str::FromStr;

use cluster::metadata::TokenId;
use cluster::row_log::RowLogId;
use cluster::{NodeId, SequenceId, SystemIdentifier, TableId};
use pgrx::prelude::*;

use super::find_catalog;
use super::latest::read_latest;
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

/// A row of `shardman.replicated_table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicatedTable {
    /// The same on every node.
    pub table_id: TableId,
    /// OID on this node.
    pub rel: pg_sys::Oid,
    /// What carries its changes; triggers, if it has none.
    pub log: Option<RowLogId>,
    /// Of a table with a log: the last change of the schema that changed it.
    pub shape: TokenId,
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
    /// Whether a majority cannot reach it, or it has not caught up since.
    pub is_down: bool,
}

/// A row of `shardman.managed_sequence`.
#[derive(Clone, Debug)]
pub struct ManagedSequence {
    /// Its life, the same on every node.
    pub id: SequenceId,
    /// OID on this node.
    pub rel: pg_sys::Oid,
    /// The first value of this life.
    pub first: i64,
    /// Values that a node takes at a time.
    pub block_size: u32,
}

/// Everything this backend needs to know of the cluster to plan a statement.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    tables: Vec<ShardedTable>,
    by_rel: HashMap<pg_sys::Oid, usize>,
    by_id: HashMap<TableId, usize>,
    groups: HashMap<TableId, Vec<NodeId>>,
    /// Groups of which partitions have moved, by what transaction of this node.
    moved: Vec<(TableId, u64)>,
    /// The last of those transactions.
    last_move: Option<u64>,
    members: Vec<Member>,
    epoch: u64,
    sequences: HashMap<pg_sys::Oid, ManagedSequence>,
    replicated: HashMap<pg_sys::Oid, ReplicatedTable>,
    has_row_logs: bool,
    /// Foreign leaves that have been asked about: asking takes several look-ups
    /// by name. Renamed they are never, and gone only with their table's row.
    foreign_leaves: RefCell<HashMap<pg_sys::Oid, NodeId>>,
    /// Generations of endpoints that have been asked about.
    generations: RefCell<HashMap<NodeId, u64>>,
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

    /// The replicated table of this OID.
    pub fn replicated_of(&self, rel: pg_sys::Oid) -> Option<ReplicatedTable> {
        self.replicated.get(&rel).copied()
    }

    /// The replicated table with this id.
    pub fn replicated(&self, id: TableId) -> Option<ReplicatedTable> {
        self.replicated.values().find(|table| table.table_id == id).copied()
    }

    /// The same if triggers carry its changes.
    pub fn triggered_of(&self, rel: pg_sys::Oid) -> Option<ReplicatedTable> {
        self.replicated_of(rel).filter(|table| table.log.is_none())
    }

    /// The same if a log carries its changes.
    pub fn logged_of(&self, rel: pg_sys::Oid) -> Option<(ReplicatedTable, RowLogId)> {
        let table = self.replicated_of(rel)?;
        Some((table, table.log?))
    }

    /// Whether any table's changes are carried by a log.
    pub fn has_row_logs(&self) -> bool {
        self.has_row_logs
    }

    /// All replicated tables, by table id.
    pub fn replicated_tables(&self) -> Vec<ReplicatedTable> {
        let mut tables: Vec<_> = self.replicated.values().copied().collect();
        tables.sort_by_key(|table| table.table_id);
        tables
    }

    /// The id of a table that is sharded or replicated.
    pub fn managed_id(&self, rel: pg_sys::Oid) -> Option<TableId> {
        let sharded = self.table_of(rel).map(|table| table.table_id);
        sharded.or_else(|| self.replicated_of(rel).map(|table| table.table_id))
    }

    /// The table of this id on this node, sharded or replicated.
    pub fn managed_rel(&self, id: TableId) -> Option<pg_sys::Oid> {
        let sharded = self.table(id).map(|table| table.rel);
        sharded.or_else(|| self.replicated(id).map(|table| table.rel))
    }

    /// The node of each partition of a group, by partition number.
    pub fn placement(&self, group: TableId) -> Option<&[NodeId]> {
        self.groups.get(&group).map(Vec::as_slice)
    }

    /// Groups of which partitions have moved, with the transaction of this node
    /// that took part in it.
    pub fn moved(&self) -> &[(TableId, u64)] {
        &self.moved
    }

    /// The node of a foreign leaf, if it was noted.
    pub fn foreign_leaf(&self, leaf: pg_sys::Oid) -> Option<NodeId> {
        self.foreign_leaves.borrow().get(&leaf).copied()
    }

    /// Notes the node of a foreign leaf as long as nothing changes.
    pub fn note_foreign_leaf(&self, leaf: pg_sys::Oid, node: NodeId) {
        self.foreign_leaves.borrow_mut().insert(leaf, node);
    }

    /// The generation of a member's endpoint, if it was noted.
    pub fn generation(&self, node: NodeId) -> Option<u64> {
        self.generations.borrow().get(&node).copied()
    }

    /// Notes it as long as nothing changes.
    pub fn note_generation(&self, node: NodeId, generation: u64) {
        self.generations.borrow_mut().insert(node, generation);
    }

    /// The managed sequence with this OID.
    pub fn sequence(&self, rel: pg_sys::Oid) -> Option<&ManagedSequence> {
        self.sequences.get(&rel)
    }

    /// Whether no sequence is managed.
    pub fn has_no_sequences(&self) -> bool {
        self.sequences.is_empty()
    }

    /// All members, by id.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How often the set of active nodes had changed when the members were such.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// One member.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}

thread_local! {
    static LOADED: RefCell<Option<Rc<Registry>>> = const { RefCell::new(None) };
    /// OIDs of the catalogues that the registry was loaded from.
    static SOURCES: Cell<[pg_sys::Oid; 4]> = const { Cell::new([pg_sys::InvalidOid; 4]) };
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
    let loaded = Rc::new(load(sources)?);
    LOADED.with(|slot| *slot.borrow_mut() = Some(loaded.clone()));
    Ok(loaded)
}

/// The same if it need not be read for that.
pub fn loaded_registry() -> Option<Rc<Registry>> {
    LOADED.with(|loaded| loaded.borrow().clone())
}

/// The last transaction of this node that took part in a move, if the registry
/// need not be read for that. Raises nothing.
pub fn last_move_if_known() -> Option<Option<u64>> {
    LOADED.with(|loaded| loaded.borrow().as_ref().map(|registry| registry.last_move))
}

/// Whether the extension exists in this database.
pub fn is_installed() -> bool {
    sources().is_some()
}

fn sources() -> Option<[pg_sys::Oid; 4]> {
    if !crate::in_cluster_database() {
        return None;
    }
    Some([
        find_catalog(c"node")?,
        find_catalog(c"sharded_table")?,
        find_catalog(c"placement")?,
        find_catalog(c"replicated_table")?,
    ])
}

fn load(sources: [pg_sys::Oid; 4]) -> Result<Registry, Report> {
    let [node, sharded_table, placement, replicated_table] = sources;
    let mut registry = Registry::default();
    for row in read_latest(
        sharded_table,
        "SELECT table_id, rel, group_id, pg_catalog.array_to_json(distribution_columns),
                pg_catalog.array_to_json(leaf_options)
         FROM shardman.sharded_table ORDER BY table_id",
    )? {
        let table = ShardedTable {
            table_id: TableId(number(&row, 0)?),
            rel: pg_sys::Oid::from(number::<u32>(&row, 1)?),
            group_id: TableId(number(&row, 2)?),
            distribution_columns: list(&row, 3)?,
            leaf_options: list(&row, 4)?,
        };
        registry.by_rel.insert(table.rel, registry.tables.len());
        registry.by_id.insert(table.table_id, registry.tables.len());
        registry.tables.push(table);
    }
    for row in read_latest(
        placement,
        "SELECT group_id, node_id, moved_by FROM shardman.placement ORDER BY group_id, pnum",
    )? {
        let group = registry.groups.entry(TableId(number(&row, 0)?)).or_default();
        group.push(NodeId(number(&row, 1)?));
        if row.get(2).is_some_and(Option::is_some) {
            registry.moved.push((TableId(number(&row, 0)?), number(&row, 2)?));
        }
    }
    registry.last_move = registry.moved.iter().map(|(_, by)| *by).max();
    for row in read_latest(
        replicated_table,
        "SELECT table_id, rel, coalesce(log_id, 0), shape FROM shardman.replicated_table ORDER BY table_id",
    )? {
        let rel = pg_sys::Oid::from(number::<u32>(&row, 1)?);
        let log = Some(RowLogId(number(&row, 2)?)).filter(|log| *log != RowLogId(0));
        let shape = TokenId(number(&row, 3)?);
        let table = ReplicatedTable { table_id: TableId(number(&row, 0)?), rel, log, shape };
        registry.has_row_logs |= log.is_some();
        registry.replicated.insert(rel, table);
    }
    for row in read_latest(
        node,
        "SELECT n.id, n.name, n.connstr, n.system_identifier, n.state, e.epoch
         FROM shardman.node AS n, shardman.node_epoch AS e ORDER BY n.id",
    )? {
        registry.epoch = number(&row, 5)?;
        registry.members.push(Member {
            id: NodeId(number(&row, 0)?),
            name: text(&row, 1).to_owned(),
            connstr: text(&row, 2).to_owned(),
            // A bigint column: the same 64 bits.
            system_identifier: SystemIdentifier(number::<i64>(&row, 3)? as u64),
            is_active: text(&row, 4) == "active",
            is_down: text(&row, 4) == "down",
        });
    }
    for row in read_latest(
        sharded_table,
        "SELECT sequence_id, rel, first_value, block_size FROM shardman.managed_sequence",
    )? {
        let sequence = ManagedSequence {
            id: SequenceId(number(&row, 0)?),
            rel: pg_sys::Oid::from(number::<u32>(&row, 1)?),
            first: number(&row, 2)?,
            block_size: number(&row, 3)?,
        };
        registry.sequences.insert(sequence.rel, sequence);
    }
    Ok(registry)
}

type Row = [Option<String>];

fn text(row: &Row, at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

fn number<N: FromStr>(row: &Row, at: usize) -> Result<N, Report> {
    text(row, at).parse().map_err(|_| damaged(text(row, at)))
}

fn list(row: &Row, at: usize) -> Result<Vec<String>, Report> {
    serde_json::from_str(text(row, at)).map_err(|_| damaged(text(row, at)))
}

fn damaged(value: &str) -> Report {
    Report::new(PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, "the shardman catalogs are damaged")
        .detail(format!("Unexpected value \"{value}\"."))
}
