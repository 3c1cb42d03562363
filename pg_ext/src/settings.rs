//! Settings, in alphabetic order. Code reads them through the accessors.

use std::ffi::{CStr, CString};
use std::time::Duration;

use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static CONSISTENCY_MODEL: GucSetting<ConsistencyModel> =
    GucSetting::<ConsistencyModel>::new(ConsistencyModel::Strong);
static BROADCAST_DDL: GucSetting<bool> = GucSetting::<bool>::new(false);
static DATABASE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"postgres"));
static ENABLE_ROUTER: GucSetting<bool> = GucSetting::<bool>::new(true);
static GLOBAL_SNAPSHOT: GucSetting<bool> = GucSetting::<bool>::new(true);
static MAX_RUNNING_JOBS: GucSetting<i32> = GucSetting::<i32>::new(2);
static MAX_PARALLEL_MOVES: GucSetting<i32> = GucSetting::<i32>::new(2);
static MOVE_LOCK_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(300);
static MOVE_RATE: GucSetting<i32> = GucSetting::<i32>::new(0);
static LEASE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(-1);
static NODE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static NUM_PARTS: GucSetting<i32> = GucSetting::<i32>::new(24);
static RESTORING: GucSetting<bool> = GucSetting::<bool>::new(false);
static SYNC_SCHEMA: GucSetting<bool> = GucSetting::<bool>::new(true);

/// What a statement that reads a table with a log is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum ConsistencyModel {
    /// Everything that was acknowledged before it began, on any node.
    #[name = c"strong"]
    Strong,
    /// What this node has applied.
    #[name = c"optimistic"]
    Optimistic,
}

/// What a statement that reads a table with a log is to see.
pub fn consistency_model() -> ConsistencyModel {
    CONSISTENCY_MODEL.get()
}

/// Whether DDL about anything else than sharded tables runs on every node.
pub fn broadcast_ddl() -> bool {
    BROADCAST_DDL.get()
}

/// Whether DDL about sharded tables runs on every node.
pub fn sync_schema() -> bool {
    SYNC_SCHEMA.get()
}

/// The database that the cluster lives in.
pub fn database() -> String {
    let setting = DATABASE.get().unwrap_or_default();
    setting.to_string_lossy().into_owned()
}

/// Whether point statements are planned without the partition planner.
pub fn enable_router() -> bool {
    ENABLE_ROUTER.get()
}

/// Whether REPEATABLE READ takes a snapshot of the whole cluster.
pub fn global_snapshot() -> bool {
    GLOBAL_SNAPSHOT.get()
}

/// How long this node may go by what a majority has last confirmed; zero for
/// ever, `None` for what the cluster's size asks for.
pub fn lease_timeout() -> Option<Duration> {
    u64::try_from(LEASE_TIMEOUT.get()).ok().map(Duration::from_millis)
}

/// After what silence a member is marked down; zero for never.
pub fn node_timeout() -> Duration {
    Duration::from_millis(u64::try_from(NODE_TIMEOUT.get()).unwrap_or(0))
}

/// How many jobs this node may drive at the same time.
pub fn max_running_jobs() -> usize {
    usize::try_from(MAX_RUNNING_JOBS.get()).unwrap_or(0)
}

/// How many moves of a rebalancing may go on at the same time.
pub fn max_parallel_moves() -> usize {
    usize::try_from(MAX_PARALLEL_MOVES.get()).unwrap_or(1)
}

/// How long the switch of a move waits for each lock, in milliseconds.
pub fn move_lock_timeout() -> u32 {
    MOVE_LOCK_TIMEOUT.get().unsigned_abs()
}

/// Bytes that the copy of a move writes in a second; 0 for as many as it can.
pub fn move_rate() -> u64 {
    u64::from(MOVE_RATE.get().unsigned_abs()) * 1024
}

/// The number of partitions of a sharded table that does not say.
pub fn num_parts() -> u16 {
    u16::try_from(NUM_PARTS.get()).expect("the setting's range is 1 to 1024")
}

/// Whether this session restores what pg_dump took from a node.
pub fn restoring() -> bool {
    RESTORING.get()
}

/// Defines the settings and reserves their prefix.
pub fn define() {
    GucRegistry::define_bool_guc(
        c"shardman.broadcast_ddl",
        c"Runs ordinary DDL on every node.",
        c"Schemas, functions, types, views, roles, ordinary tables, grants on them; see docs/ddl.md. DDL on sharded tables always runs on every node.",
        &BROADCAST_DDL,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"shardman.consistency_model",
        c"Sets what statements that read tables with a log see.",
        c"strong: everything that was acknowledged before the statement began, which a majority of the nodes is asked for; optimistic: what this node has applied.",
        &CONSISTENCY_MODEL,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"shardman.database",
        c"Sets the database that the cluster lives in.",
        c"The same on every node. In other databases shardman does nothing.",
        &DATABASE,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"shardman.enable_router",
        c"Enables plans that send a statement to one partition whole.",
        c"Used for statements whose sharded tables are all fixed to one value of their distribution columns. Other statements, and all with this switched off, are planned partition by partition.",
        &ENABLE_ROUTER,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_bool_guc(
        c"shardman.global_snapshot",
        c"Sets whether REPEATABLE READ takes one snapshot of all nodes.",
        c"Off, each node has a snapshot of its own, taken at its first use: a transaction that changed several nodes may be seen on some of them only.",
        &GLOBAL_SNAPSHOT,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"shardman.idle_connection_timeout",
        c"Sets how long a session with a node or a foreign server may be idle before it is closed.",
        c"0 keeps it open until this session ends.",
        &fdw::session::IDLE_TIMEOUT,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"shardman.max_parallel_moves",
        c"Sets how many moves of a rebalancing may go on at the same time.",
        c"They are between different pairs of nodes.",
        &MAX_PARALLEL_MOVES,
        1,
        64,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"shardman.max_running_jobs",
        c"Sets how many jobs this node may drive at the same time.",
        c"Each takes a background worker of max_worker_processes, and one more for this node's part of a job. 0 leaves jobs to the other nodes.",
        &MAX_RUNNING_JOBS,
        0,
        64,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"shardman.move_lock_timeout",
        c"Sets how long the switch of a move waits for each of its locks.",
        c"Statements that come meanwhile wait as long. Then they go on, and the switch is tried again.",
        &MOVE_LOCK_TIMEOUT,
        10,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"shardman.move_rate",
        c"Sets how much the copy of a move may write in a second.",
        c"0 for as much as it can.",
        &MOVE_RATE,
        0,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"shardman.lease_timeout",
        c"Sets how long a node that is cut off from the majority serves sharded and replicated tables.",
        c"Longer than the loss of a leader takes to be mended (about 3 s), and shorter than shardman.node_timeout. -1 is three fifths of that in a cluster of three or more voters, and 0 in a smaller one, which has no majority without each of its nodes. 0 lets a node that is cut off go on reading and writing what it can reach.",
        &LEASE_TIMEOUT,
        -1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"shardman.node_timeout",
        c"Sets how long a node may be silent before it is marked down.",
        c"The leader of the metadata log counts. Schema changes go on without a node that is down, as far as they depend on no rows; it applies them when it is back. 0 marks no node down.",
        &NODE_TIMEOUT,
        0,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"shardman.num_parts",
        c"Sets the number of partitions of new sharded tables.",
        c"Used when CREATE TABLE has no option num_parts. Choose several times the number of nodes that the cluster may grow to.",
        &NUM_PARTS,
        1,
        1024,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"shardman.restoring",
        c"Lets this session restore what pg_dump took from a node of another cluster.",
        c"Tables and their partitions are made as the dump has them, on this node alone; shardman.repair() makes sharded tables of them afterwards.",
        &RESTORING,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"shardman.sync_schema",
        c"Runs DDL on sharded tables on every node.",
        c"Off only to mend a node whose schema differs from the others'. CREATE, DROP and indexes are not affected.",
        &SYNC_SCHEMA,
        GucContext::Suset,
        GucFlags::default(),
    );
    reserve_prefix(c"shardman");
}

#[allow(unsafe_code)]
fn reserve_prefix(prefix: &CStr) {
    // SAFETY: PostgreSQL copies the NUL-terminated string.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) }
}
