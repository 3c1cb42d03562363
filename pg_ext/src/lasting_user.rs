//! An effective user that outlasts its transaction.
//!
//! A node's session mostly works for one user, statement after statement. Told
//! once, the user stays in force, with the search path and the isolation level
//! that go with it, until a transaction fails or another user is named: a
//! statement then needs no command in front of it.
//!
//! Between transactions the user is the current one, as after SET ROLE; no
//! security context may be in force when a transaction begins. [`resume`] puts it
//! in force before anything runs that a user may have written: the planner, the
//! executor and utility statements begin with it.
//!
//! When a transaction fails the sender has heard so and names the user again.
//! Should it not have, its next statement is refused: nothing ever runs as
//! somebody else.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_void};

use pgrx::prelude::*;

use crate::node_session::{act_as, leave_user, search};
use crate::report::Report;

/// How the session stands between transactions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Users are told transaction by transaction.
    None,
    /// This role stays.
    Stays(pg_sys::Oid),
    /// One stayed up to a transaction that failed.
    Lost,
}

/// What the sender has said.
struct Told {
    user: String,
    path: CString,
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::None) };
    /// The security context is in force in the running transaction.
    static IS_IN_FORCE: Cell<bool> = const { Cell::new(false) };
    /// Some role has changed since the name was looked up.
    static IS_STALE: Cell<bool> = const { Cell::new(false) };
    static TOLD: RefCell<Option<Told>> = const { RefCell::new(None) };
}

/// Registers the callbacks. Called while the library is preloaded.
pub fn init() {
    // SAFETY: plain functions; the second one only sets a flag.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction), std::ptr::null_mut());
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::AUTHOID as i32,
            Some(at_change_of_roles),
            pg_sys::Datum::from(0usize),
        );
    }
}

/// The user that was just put in force, with its search path, is to stay.
pub fn stay(user: &str, path: &str) -> Result<(), Report> {
    let mut context = 0;
    let mut role = pg_sys::InvalidOid;
    // SAFETY: reads two variables of the backend.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut role, &mut context) };
    let path = CString::new(path).unwrap_or_default();
    TOLD.with(|told| *told.borrow_mut() = Some(Told { user: user.to_owned(), path }));
    STATE.set(State::Stays(role));
    IS_IN_FORCE.set(true);
    IS_STALE.set(false);
    set_level();
    Ok(())
}

/// From now on users are told transaction by transaction.
pub fn forget() {
    STATE.set(State::None);
    IS_IN_FORCE.set(false);
}

/// Puts the user that stays in force. Called before anything of a user's can run.
#[inline]
pub fn resume() -> Result<(), Report> {
    match STATE.get() {
        State::None => Ok(()),
        _ if IS_IN_FORCE.get() => Ok(()),
        State::Stays(role) => put_in_force(role),
        State::Lost => Err(lost()),
    }
}

/// Whether [`resume`] has anything to do. Raises nothing.
#[inline]
pub fn is_to_be_resumed() -> bool {
    STATE.get() != State::None && !IS_IN_FORCE.get()
}

/// Whether the sender has to name a user before anything else runs.
pub fn is_lost() -> bool {
    STATE.get() == State::Lost
}

fn put_in_force(role: pg_sys::Oid) -> Result<(), Report> {
    if IS_STALE.replace(false) {
        let user = TOLD.with(|told| told.borrow().as_ref().map(|told| told.user.clone()));
        act_as(&user.unwrap_or_default())?;
        let (mut role, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: reads two variables of the backend.
        unsafe { pg_sys::GetUserIdAndSecContext(&mut role, &mut context) };
        STATE.set(State::Stays(role));
    } else {
        // SAFETY: writes two variables of the backend; an abort brings back what
        // was there when the transaction began.
        unsafe {
            pg_sys::SetUserIdAndSecContext(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
        }
    }
    IS_IN_FORCE.set(true);
    Ok(())
}

fn lost() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "the user that a statement of another node runs as is not known any more",
    )
    .detail(
        "An earlier transaction of the session has failed, which the other node has not noticed.",
    )
    .hint("Run the transaction again.")
}

unsafe extern "C-unwind" fn at_change_of_roles(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    IS_STALE.set(true);
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_transaction(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    use pg_sys::XactEvent::{
        XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE,
        XACT_EVENT_PREPARE,
    };
    let State::Stays(role) = STATE.get() else { return };
    match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE => {
            // SAFETY: these events may raise, and this frame has nothing to drop.
            unsafe { fdw::callback(|| Ok(bring_back_settings()?)) }
        }
        XACT_EVENT_COMMIT | XACT_EVENT_PREPARE => {
            IS_IN_FORCE.set(false);
            // SAFETY: writes two variables of the backend; raises nothing.
            unsafe { pg_sys::SetUserIdAndSecContext(role, 0) }
        }
        XACT_EVENT_ABORT => {
            IS_IN_FORCE.set(false);
            STATE.set(State::Lost);
            leave_user();
        }
        _ => {}
    }
}

/// What functions have changed would be in force for the next transaction.
fn bring_back_settings() -> Result<(), Report> {
    // SAFETY: reads variables of the backend; the path is a valid C string.
    let (path, level) = unsafe {
        (CStr::from_ptr(pg_sys::namespace_search_path), pg_sys::DefaultXactIsoLevel as u32)
    };
    if level != pg_sys::XACT_READ_COMMITTED {
        set_level();
    }
    let wanted = TOLD.with(|told| {
        let told = told.borrow();
        told.as_ref().filter(|told| *told.path != *path).map(|told| told.path.clone())
    });
    wanted.map_or(Ok(()), |wanted| search(&wanted.to_string_lossy()))
}

/// A statement that is sent alone runs at the session's level.
fn set_level() {
    // SAFETY: guarded; a setting that anyone may set.
    unsafe {
        pg_sys::set_config_option(
            c"default_transaction_isolation".as_ptr(),
            c"read committed".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SET,
            true,
            0,
            false,
        );
    }
}
