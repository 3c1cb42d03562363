//! Cancel and terminate requests.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// True if `CHECK_FOR_INTERRUPTS` would act now: something is pending and
/// nothing holds it off. A wait that would not be processed must not stop for it.
pub fn interrupts_would_be_processed() -> bool {
    // SAFETY: reads of the backend's own variables on its main thread.
    unsafe {
        pg_sys::InterruptPending != 0
            && pg_sys::InterruptHoldoffCount == 0
            && pg_sys::CritSectionCount == 0
            && pg_sys::QueryCancelHoldoffCount == 0
    }
}

/// Acts on pending interrupts; raises (as a Rust panic, which the border turns
/// back) if one says so. Call with no lease or borrow held.
pub fn check_for_interrupts() {
    pg_sys::check_for_interrupts!();
}
