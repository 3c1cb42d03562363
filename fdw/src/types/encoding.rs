//! Send and receive functions convert text from and to the encoding of *our
//! client*. Values here are in the database's encoding, so for the length of a
//! row the client's is set to that, if it differs.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// Restores the client's encoding when dropped.
pub struct EncodingGuard(Option<i32>);

impl EncodingGuard {
    /// Nearly free if client and database agree.
    #[inline]
    pub fn enter() -> EncodingGuard {
        // SAFETY: guarded; SetClientEncoding to the database's own encoding
        // needs no catalogue and cannot fail.
        unsafe {
            let client = pg_sys::pg_get_client_encoding();
            let database = pg_sys::GetDatabaseEncoding();
            if client == database {
                return EncodingGuard(None);
            }
            pg_sys::SetClientEncoding(database);
            EncodingGuard(Some(client))
        }
    }
}

impl Drop for EncodingGuard {
    fn drop(&mut self) {
        if let Some(encoding) = self.0 {
            // SAFETY: returns to an encoding that was in force, whose conversion
            // functions are cached; returns -1 instead of raising.
            unsafe { pg_sys::SetClientEncoding(encoding) };
        }
    }
}
