//! Who this server is.
#![allow(unsafe_code)]

use std::cell::OnceCell;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::rc::Rc;

use cluster::{Identity, SystemIdentifier};
use pgrx::prelude::*;

use crate::report::Report;

thread_local! {
    /// Read once: a server's identity does not change while it runs.
    static IDENTITY: OnceCell<Rc<Identity>> = const { OnceCell::new() };
}

/// The folder in the data directory that belongs to shardman.
pub fn folder() -> PathBuf {
    // SAFETY: DataDir is set before any library is loaded and never changed.
    let data_directory = unsafe { crate::lists::text(pg_sys::DataDir) };
    PathBuf::from(data_directory).join("shardman")
}

/// Of this data directory.
pub fn system_identifier() -> SystemIdentifier {
    // SAFETY: reads shared memory.
    SystemIdentifier(unsafe { pg_sys::GetSystemIdentifier() })
}

/// This server's identity, refused if it is no member.
pub fn my_identity() -> Result<Rc<Identity>, Report> {
    my_identity_if_any()?.ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "this server is not a member of a cluster",
        )
        .hint("Create a cluster with shardman.create_cluster(), or join one with shardman.join_cluster().")
    })
}

/// This server's identity, `None` if it is no member.
pub fn my_identity_if_any() -> Result<Option<Rc<Identity>>, Report> {
    if let Some(known) = IDENTITY.with(|identity| identity.get().cloned()) {
        return Ok(Some(known));
    }
    let path = folder().join("identity.json");
    let unreadable = |detail: String| {
        Report::new(
            PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            "could not read this server's cluster identity",
        )
        .detail(detail)
    };
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let identity: Identity =
        serde_json::from_slice(&content).map_err(|error| unreadable(error.to_string()))?;
    if identity.system_identifier != system_identifier() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "this server's cluster identity belongs to another data directory",
        )
        .detail("The folder \"shardman\" of the data directory was copied from another server.")
        .hint("Remove that folder and join the cluster anew."));
    }
    let identity = Rc::new(identity);
    Ok(Some(IDENTITY.with(|slot| slot.get_or_init(|| identity).clone())))
}
