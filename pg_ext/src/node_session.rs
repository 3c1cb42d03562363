//! The receiving end: a session that another node of the cluster opened.
//!
//! It is recognised by how it authenticated, as the node role, and by nothing
//! that a user could set. What it is told about a statement it is told in
//! *top-level* messages (`SET shardman.effective_user TO …`): a function, a
//! trigger or a DO block never runs at top level, so only the node at the other
//! end of the wire can speak here.
//!
//! Contract with `fdw`, the sending end: every transaction begins with BEGIN,
//! unless it is one statement, and then names the effective user and the search
//! path. The user stays in force until the transaction ends or the sender names
//! another, or longer if the sender says so: see `lasting_user`. The sender has
//! prepared this command, so nobody else may prepare one under a name like its own.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, CString};

use pgrx::prelude::*;

use crate::lasting_user;
use crate::report::Report;

/// The role that nodes log in with.
pub const NODE_ROLE: &CStr = c"shardman_node";

/// `SET shardman.effective_user TO 'name'`, or `TO 'name', 'search_path'`, or `TO
/// 'name', 'search_path', 'stays'` for transactions to come as well.
pub const EFFECTIVE_USER: &str = "shardman.effective_user";
/// `SET shardman.apply TO '<NodeCommand as JSON>'`.
pub const APPLY: &str = "shardman.apply";
/// `SET shardman.gate TO '<GateRequest>'`.
pub const GATE: &str = "shardman.gate";

/// `SET shardman.maintain TO '<Maintenance as JSON>'`.
pub const MAINTAIN: &str = "shardman.maintain";

thread_local! {
    /// A user is in force until [`end_maintenance`], whatever commits meanwhile.
    static IS_MAINTAINING: Cell<bool> = const { Cell::new(false) };
    /// Found out once a backend: the authenticated user never changes.
    static IS_NODE_SESSION: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Whether the client of this backend is another node. Must be called in a
/// transaction (the first time it looks up the role).
pub fn is_node_session() -> bool {
    if let Some(known) = IS_NODE_SESSION.get() {
        return known;
    }
    // SAFETY: a syscache look-up by a NUL-terminated name in a transaction,
    // and two reads of backend variables.
    let known = unsafe {
        if pg_sys::MyBackendType != pg_sys::BackendType::B_BACKEND || !crate::in_cluster_database()
        {
            false
        } else {
            let role = pg_sys::get_role_oid(NODE_ROLE.as_ptr(), true);
            role != pg_sys::InvalidOid && pg_sys::GetAuthenticatedUserId() == role
        }
    };
    IS_NODE_SESSION.set(Some(known));
    known
}

/// Whether it has been found out that the client is no node. Raises nothing.
pub fn is_known_user_session() -> bool {
    IS_NODE_SESSION.get() == Some(false)
}

/// The first command of a transaction without BEGIN: its isolation level is
/// the one that such a statement was sent with, whatever default a function has
/// left behind in this session.
pub fn begin_alone() {
    // SAFETY: reads and a write of backend variables, before the transaction
    // has a snapshot: what StartTransaction does.
    unsafe {
        if !pg_sys::IsTransactionBlock() && !pg_sys::FirstSnapshotSet {
            pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
        }
    }
}

/// Names are found where the sender finds them.
pub fn search(path: &str) -> Result<(), Report> {
    let wanted = CString::new(path).unwrap_or_default();
    // SAFETY: the setting's variable is a valid C string; strings are copied.
    unsafe {
        if CStr::from_ptr(pg_sys::namespace_search_path) == wanted.as_c_str() {
            return Ok(());
        }
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            wanted.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SET,
            true,
            0,
            false,
        );
    }
    Ok(())
}

/// From now on, and until the transaction ends, statements run as this user:
/// as inside a SECURITY DEFINER function, so that no SET ROLE, RESET ROLE or
/// SET SESSION AUTHORIZATION gets out of it.
pub fn act_as(user: &str) -> Result<(), Report> {
    let name = CString::new(user).map_err(|_| unknown_role(user))?;
    // SAFETY: a syscache look-up by a NUL-terminated name; then a write of two
    // backend variables. AbortTransaction brings back what was in force at the
    // transaction's start, `leave_user` what was before it on commit.
    unsafe {
        let role = pg_sys::get_role_oid(name.as_ptr(), true);
        if role == pg_sys::InvalidOid {
            return Err(unknown_role(user));
        }
        pg_sys::SetUserIdAndSecContext(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
    }
    Ok(())
}

/// The same through the commits of VACUUM and its like, until `end_maintenance`
/// or an abort. They run users' functions as the tables' owners and restricted,
/// so nothing could leave the user.
pub fn maintain_as(user: &str) -> Result<(), Report> {
    lasting_user::forget();
    act_as(user)?;
    // SAFETY: a read and a write of backend variables. No transaction may begin
    // in a security context.
    unsafe {
        let (mut role, mut context) = (pg_sys::InvalidOid, 0);
        pg_sys::GetUserIdAndSecContext(&mut role, &mut context);
        pg_sys::SetUserIdAndSecContext(role, 0);
    }
    IS_MAINTAINING.set(true);
    Ok(())
}

/// Whether what runs is no part of another node's transaction.
pub fn is_maintaining() -> bool {
    IS_MAINTAINING.get()
}

/// Back to the node role. Raises nothing.
pub fn end_maintenance() {
    IS_MAINTAINING.set(false);
    leave_user();
}

fn unknown_role(user: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        format!("role \"{user}\" does not exist on this node"),
    )
    .hint("Create the role on every node of the cluster.")
}

/// Before COMMIT and PREPARE TRANSACTION: fires what is deferred while the
/// effective user is still in force, then goes back to the node role, which is
/// to own the prepared transaction.
pub fn finish_as_user() {
    // SAFETY: we are in a transaction block that is not aborted (the caller
    // checked); the node stands for SET CONSTRAINTS ALL IMMEDIATE and lives
    // through the call.
    unsafe {
        let mut all = pgrx::PgBox::<pg_sys::ConstraintsSetStmt>::alloc_node(
            pg_sys::NodeTag::T_ConstraintsSetStmt,
        );
        all.constraints = std::ptr::null_mut();
        all.deferred = false;
        pg_sys::AfterTriggerSetState(all.as_ptr());
    }
    leave_user();
}

/// Back to the node role. Raises nothing: transaction callbacks call it.
pub fn leave_user() {
    // SAFETY: reads and writes of backend variables.
    unsafe {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let authenticated = pg_sys::GetAuthenticatedUserId();
        if user != authenticated {
            pg_sys::SetUserIdAndSecContext(authenticated, 0);
        }
    }
}

/// Registers the callback that ends an effective user with its transaction.
pub fn init() {
    // SAFETY: a plain function that raises nothing.
    unsafe { pg_sys::RegisterXactCallback(Some(on_transaction_end), std::ptr::null_mut()) }
}

unsafe extern "C-unwind" fn on_transaction_end(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    let ends = matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE);
    if ends && IS_NODE_SESSION.get() == Some(true) {
        let stays = event == XACT_EVENT_COMMIT && IS_MAINTAINING.get();
        if !stays {
            end_maintenance();
        }
    }
}
