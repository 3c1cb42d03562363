//! Settings under which values become text that reads the same anywhere.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// Settings in force until dropped in the ordinary way; an error undoes them
/// with the transaction.
pub struct TransmissionModes {
    nest_level: i32,
}

impl TransmissionModes {
    /// ISO dates, `postgres` intervals, exact floats; and `search_path`, if given.
    pub fn enter(search_path: Option<&str>) -> TransmissionModes {
        // SAFETY: guarded; pairs with AtEOXact_GUC in `leave`, or with the
        // (sub)transaction's abort.
        let nest_level = unsafe { pg_sys::NewGUCNestLevel() };
        // SAFETY: reads of the backend's own variables.
        unsafe {
            if pg_sys::DateStyle != pg_sys::USE_ISO_DATES as i32 {
                set(c"datestyle", c"ISO");
            }
            if pg_sys::IntervalStyle != pg_sys::INTSTYLE_POSTGRES as i32 {
                set(c"intervalstyle", c"postgres");
            }
            if pg_sys::extra_float_digits < 3 {
                set(c"extra_float_digits", c"3");
            }
        }
        if let Some(path) = search_path {
            let path = CString::new(path).unwrap_or_default();
            set(c"search_path", &path);
        }
        TransmissionModes { nest_level }
    }

    /// Puts the settings back.
    pub fn leave(self) {
        // SAFETY: guarded; the level is this value's own.
        unsafe { pg_sys::AtEOXact_GUC(true, self.nest_level) }
    }
}

fn set(name: &CStr, value: &CStr) {
    // SAFETY: guarded; strings are copied.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}
