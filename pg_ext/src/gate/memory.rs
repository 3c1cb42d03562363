//! The gate's place in shared memory.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::looks::Looks;
use super::state::Gate;
use crate::shared_memory::Shared;

/// This node's gate.
// SAFETY: `make` makes it.
pub static GATE: Shared<Gate> = unsafe { Shared::made(c"shardman gate", make) };

/// SAFETY: `place` is fresh memory of the right size.
unsafe fn make(place: *mut Gate) {
    // SAFETY: the caller's.
    unsafe {
        place.write(Gate::new());
        pg_sys::ConditionVariableInit((*place).moved.get());
    }
}

/// The gate; `None` before shared memory was set up.
pub fn gate() -> Option<&'static Gate> {
    GATE.get()
}

/// The looks for this node's participants in doubt; `None` before shared memory
/// was set up.
pub fn looks() -> Option<&'static Looks> {
    gate().map(|gate| &gate.looks)
}
