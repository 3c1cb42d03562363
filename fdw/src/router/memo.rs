//! What executions of one plan leave for the next ones: remote statements and
//! local plans, by partition.
//!
//! It lives exactly as long as the plan: it is found by the plan's address, and a
//! callback of the plan's memory context forgets it.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;

use pgrx::pg_sys;

use super::private::RouterPrivate;
use crate::backend::ContextGuard;
use crate::session::Statement;

/// A partition that the plan was run at.
#[derive(Clone)]
pub enum Known {
    /// On another node.
    Remote {
        /// Foreign leaves, in the order of the plan's parents.
        leaves: Rc<[pg_sys::Oid]>,
        /// The whole statement, for their owner.
        statement: Statement,
    },
    /// On this one.
    Local {
        /// Real leaves, in the order of the plan's parents.
        leaves: Rc<[pg_sys::Oid]>,
        /// The statement over them, planned; `None` if that is still to be done.
        plan: Option<LocalPlan>,
    },
}

/// A plan over local leaves, in a memory context of its own.
#[derive(Clone)]
pub struct LocalPlan {
    /// The plan.
    pub planned: *mut pg_sys::PlannedStmt,
    /// Of what it was made of.
    pub version: u64,
    context: pg_sys::MemoryContext,
    /// Whoever runs it holds this.
    pub in_use: Rc<()>,
}

/// The memory of one plan.
pub struct Memo {
    /// The plan's own parts.
    pub private: RouterPrivate,
    /// Hash functions of the key, ready to be called; they live in `context`.
    functions: *mut pg_sys::FmgrInfo,
    collations: *mut pg_sys::Oid,
    /// The plan's own.
    context: pg_sys::MemoryContext,
    /// How often it was run.
    pub executions: Cell<u64>,
    known: RefCell<HashMap<u32, Known>>,
}

thread_local! {
    static MEMOS: RefCell<HashMap<usize, Rc<Memo>>> = RefCell::default();
    /// Counts changes of each leaf that a local plan was made for.
    static VERSIONS: RefCell<HashMap<pg_sys::Oid, u64>> = RefCell::default();
    /// Counts changes of everything at once.
    static ALL: Cell<u64> = const { Cell::new(0) };
}

impl Memo {
    /// The memory of a plan, empty at its first execution.
    ///
    /// # Safety
    /// `plan` is a router's plan, in a memory context of its own plan tree.
    pub unsafe fn of(plan: *mut pg_sys::CustomScan) -> Rc<Memo> {
        let address = plan as usize;
        if let Some(known) = MEMOS.with(|memos| memos.borrow().get(&address).cloned()) {
            return known;
        }
        // SAFETY: per the contract; guarded. The callback's struct lives in the
        // context whose end calls it.
        unsafe {
            let home = pg_sys::GetMemoryChunkContext(plan.cast());
            let private = RouterPrivate::from_list((*plan).custom_private);
            let allocate = |size: usize| pg_sys::MemoryContextAllocZero(home, size);
            let n = private.keys.len();
            let functions: *mut pg_sys::FmgrInfo =
                allocate(n * size_of::<pg_sys::FmgrInfo>()).cast();
            let collations: *mut pg_sys::Oid = allocate(n * size_of::<pg_sys::Oid>()).cast();
            for (i, key) in private.keys.iter().enumerate() {
                pg_sys::fmgr_info_cxt(key.function, functions.add(i), home);
                *collations.add(i) = key.collation;
            }
            let memo = Rc::new(Memo {
                private,
                functions,
                collations,
                context: home,
                executions: Cell::new(0),
                known: RefCell::default(),
            });
            let callback: *mut pg_sys::MemoryContextCallback =
                allocate(size_of::<pg_sys::MemoryContextCallback>()).cast();
            (*callback).func = Some(forget);
            (*callback).arg = plan.cast();
            pg_sys::MemoryContextRegisterResetCallback(home, callback);
            MEMOS.with(|memos| memos.borrow_mut().insert(address, memo.clone()));
            memo
        }
    }

    /// The partition's number: the remainder of what PostgreSQL itself hashes the
    /// key's values to.
    ///
    /// # Safety
    /// The plan still lives; there is a valid value for each parameter.
    pub unsafe fn partition(&self, values: *const pg_sys::Datum, nulls: *const bool) -> u32 {
        let mut key = Vec::with_capacity(self.private.keys.len());
        let mut is_null = Vec::with_capacity(self.private.keys.len());
        for part in &self.private.keys {
            // SAFETY: per the contract.
            let (value, null) =
                part.parameter.map_or((pg_sys::Datum::from(0usize), true), |at| unsafe {
                    (*values.add(at), *nulls.add(at))
                });
            key.push(value);
            is_null.push(null);
        }
        // SAFETY: arrays of one entry per key column; guarded.
        let hash = unsafe {
            pg_sys::compute_partition_hash_value(
                key.len() as i32,
                self.functions,
                self.collations,
                key.as_mut_ptr(),
                is_null.as_mut_ptr(),
            )
        };
        (hash % u64::from(self.private.modulus)) as u32
    }

    /// What is known of a partition.
    pub fn known(&self, partition: u32) -> Option<Known> {
        self.known.borrow().get(&partition).cloned()
    }

    /// Takes note of a partition.
    pub fn learn(&self, partition: u32, known: Known) {
        self.known.borrow_mut().insert(partition, known);
    }

    /// Keeps a plan over local leaves in place of the one before it.
    ///
    /// # Safety
    /// `planned` is a valid plan; it is copied.
    pub unsafe fn keep(
        &self,
        partition: u32,
        leaves: Rc<[pg_sys::Oid]>,
        planned: *mut pg_sys::PlannedStmt,
        version: u64,
    ) -> LocalPlan {
        // SAFETY: guarded; the new context goes with the statement's plan, or when
        // its own plan is replaced and nobody runs it any more.
        unsafe {
            let context = pg_sys::AllocSetContextCreateInternal(
                self.context,
                c"shardman leaf plan".as_ptr(),
                0,
                1024,
                1024 * 1024,
            );
            let planned = {
                let _context = ContextGuard::enter(context);
                pg_sys::copyObjectImpl(planned.cast()).cast()
            };
            let plan = LocalPlan { planned, version, context, in_use: Rc::new(()) };
            let known = Known::Local { leaves, plan: Some(plan.clone()) };
            let former = self.known.borrow_mut().insert(partition, known);
            if let Some(Known::Local { plan: Some(former), .. }) = former
                && Rc::strong_count(&former.in_use) == 1
            {
                pg_sys::MemoryContextDelete(former.context);
            }
            plan
        }
    }
}

/// Called while a plan's memory is freed: raises nothing.
unsafe extern "C-unwind" fn forget(plan: *mut c_void) {
    let memo = MEMOS.with(|memos| memos.borrow_mut().remove(&(plan as usize)));
    drop(memo);
}

/// Has changes of leaves counted; once, at load.
pub fn init() {
    // SAFETY: guarded; a plain function that raises nothing.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(on_invalidation), pg_sys::Datum::from(0usize));
    }
}

unsafe extern "C-unwind" fn on_invalidation(_argument: pg_sys::Datum, rel: pg_sys::Oid) {
    if rel == pg_sys::InvalidOid {
        ALL.set(ALL.get() + 1);
    } else {
        VERSIONS.with(|versions| {
            if let Ok(mut versions) = versions.try_borrow_mut()
                && let Some(version) = versions.get_mut(&rel)
            {
                *version += 1;
            }
        });
    }
}

/// Changes whenever one of the leaves does: definition, indexes, statistics. To
/// be read with their locks held.
pub fn version_of(leaves: &[pg_sys::Oid]) -> u64 {
    VERSIONS.with(|versions| {
        let mut versions = versions.borrow_mut();
        leaves.iter().map(|leaf| *versions.entry(*leaf).or_insert(0)).sum::<u64>()
    }) + ALL.get()
}
