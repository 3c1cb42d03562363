//! Running a piece of our own work as another user.
#![allow(unsafe_code)]

use std::cell::Cell;

use pgrx::pg_sys;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// While alive, the current user is another one, as in a SECURITY DEFINER
/// function: SET ROLE and the like are refused meanwhile. Dropping it brings
/// back what was in force; that cannot raise.
pub struct ActingAs {
    user: pg_sys::Oid,
    security_context: i32,
}

impl ActingAs {
    /// The bootstrap superuser, for statements on our own catalogues only: no
    /// expression of a user may be evaluated meanwhile.
    pub fn owner_of_the_catalogs() -> Self {
        Self::user(pg_sys::Oid::from(pg_sys::BOOTSTRAP_SUPERUSERID))
    }

    /// Whether one is alive: what runs is the extension's own work.
    pub fn is_anyone() -> bool {
        DEPTH.get() > 0
    }

    /// Any role.
    pub fn user(user: pg_sys::Oid) -> Self {
        let mut before = ActingAs { user: pg_sys::InvalidOid, security_context: 0 };
        DEPTH.set(DEPTH.get() + 1);
        // SAFETY: both functions read and write two variables of the backend
        // and raise nothing.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before.user, &mut before.security_context);
            let context = before.security_context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
            pg_sys::SetUserIdAndSecContext(user, context);
        }
        before
    }
}

impl Drop for ActingAs {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        // SAFETY: as above.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.security_context) }
    }
}
