//! The writer lock: a lock of the distributed transaction on the table's home,
//! the active node with the lowest id.
//!
//! It is an advisory lock of PostgreSQL's with a class of its own, so that it
//! outlives PREPARE, shows in `pg_locks` and is seen by the deadlock detectors.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_void;

use cluster::replication::WriterLock;
use cluster::{NodeId, TableId};
use fdw::session::{Call, Calling, Everywhere};
use pgrx::prelude::*;

use super::ship::needs_all_nodes;
use super::{epoch, standing};
use crate::catalog::registry;
use crate::compat;
use crate::membership;
use crate::node_session::is_node_session;
use crate::report::Report;

/// In the place of an advisory lock that tells a pair of numbers from one.
const TABLES: u16 = 0x5354;
const KEYS: u16 = 0x534b;

/// What this transaction holds, to ask for it once.
struct Held {
    transaction: pg_sys::LocalTransactionId,
    locks: Vec<WriterLock>,
}

thread_local! {
    static HELD: RefCell<Held> =
        const { RefCell::new(Held { transaction: 0, locks: Vec::new() }) };
}

/// Registers the callback that forgets locks which a savepoint gives back.
pub fn init() {
    // SAFETY: a plain function that raises nothing.
    unsafe { pg_sys::RegisterSubXactCallback(Some(on_subtransaction), std::ptr::null_mut()) }
}

unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _own: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        HELD.with(|held| {
            if let Ok(mut held) = held.try_borrow_mut() {
                held.locks.clear();
            }
        });
    }
}

/// The node where writers queue up; `None` before there is an active node.
pub fn home() -> Result<Option<NodeId>, Report> {
    let registry = registry()?;
    Ok(registry.members().iter().find(|member| member.is_active).map(|member| member.id))
}

/// Locks a table for writing any of its rows.
pub fn lock_table(table: TableId) -> Result<(), Report> {
    take(&[WriterLock::Table(table)])
}

/// Takes locks until the transaction ends. They are all of tables with one home.
/// Waits for other writers; a deadlock is found as any other.
pub fn take(wanted: &[WriterLock]) -> Result<(), Report> {
    let transaction = compat::local_transaction_id();
    let missing: Vec<_> = HELD.with_borrow_mut(|held| {
        if held.transaction != transaction {
            held.transaction = transaction;
            held.locks.clear();
        }
        let is_held = |lock: &WriterLock| held.locks.iter().any(|own| own.covers(*lock));
        wanted.iter().copied().filter(|lock| !is_held(lock)).collect()
    });
    if missing.is_empty() {
        return Ok(());
    }
    let me = membership::my_identity()?.node_id;
    standing::check(me)?;
    loop {
        let Some(home) = home()? else { return Ok(()) };
        let epoch = registry()?.epoch();
        if home == me {
            take_here(&missing);
        } else {
            let call = Call::new("SELECT shardman.lock_writers($1, $2)");
            let call = call.text(&me.to_string()).text(&WriterLock::print(&missing));
            let home = Everywhere::open(&[home]).map_err(needs_all_nodes)?;
            home.call(call, false).and_then(Calling::collect).map_err(needs_all_nodes)?;
        }
        // SAFETY: in a transaction. Who joined while we waited is a member now.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        if registry()?.epoch() == epoch {
            break;
        }
    }
    epoch::begin_writing()?;
    HELD.with_borrow_mut(|held| held.locks.extend(missing));
    Ok(())
}

fn take_here(locks: &[WriterLock]) {
    for lock in locks {
        let table = lock.table().0 as u32;
        match lock {
            WriterLock::Table(_) => acquire(TABLES, table, 0, pg_sys::ExclusiveLock),
            WriterLock::Referrer(_) => acquire(TABLES, table, 0, pg_sys::ShareLock),
            WriterLock::Key(_, key) => {
                acquire(TABLES, table, 0, pg_sys::RowExclusiveLock);
                acquire(KEYS, table, *key, pg_sys::ExclusiveLock);
            }
        }
    }
}

fn acquire(class: u16, table: u32, key: u32, mode: u32) {
    // SAFETY: a complete tag; the guarded call waits, answering to cancel.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: table,
            locktag_field3: key,
            locktag_field4: class,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        pg_sys::LockAcquire(&raw const tag, mode as i32, false, false);
    }
}

#[pg_extern(sql = false)]
fn lock_writers(coordinator: i32, tables: &str) {
    use crate::report::OrRaise;
    lock_for_another(NodeId(coordinator as u32), tables).or_raise()
}

fn lock_for_another(coordinator: NodeId, tables: &str) -> Result<(), Report> {
    let locks = WriterLock::parse(tables).filter(|_| is_node_session()).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "writer locks are taken by other nodes only",
        )
    })?;
    standing::check(coordinator)?;
    take_here(&locks);
    // It may have been marked down while it waited.
    // SAFETY: in a transaction.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    standing::check(coordinator)
}
