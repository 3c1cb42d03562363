//! How a server that a user created is reached, and who may.
#![allow(unsafe_code)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use pgrx::pg_sys;

use super::lookup::OptionList;
use crate::backend::text_of;
use crate::error::{Refusal, SqlState};

/// A server and a mapping, resolved.
pub struct ServerConnection {
    /// Local name of the server.
    pub server_name: String,
    /// Of server and mapping options together.
    pub generation: u64,
    /// Host name, address or socket directory.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub dbname: String,
    /// Remote role.
    pub user: String,
    /// Secret.
    pub password: Option<String>,
    /// A connection that did not need the password is refused.
    pub password_must_be_used: bool,
    /// Of the remote session.
    pub application_name: Option<String>,
    /// Of each address.
    pub connect_timeout: Option<Duration>,
    /// Command-line options of the remote session.
    pub options: Option<String>,
    /// The session stays open for the next transaction.
    pub is_kept: bool,
}

/// Resolves a server for a local user. A user who is no superuser must bring a
/// password, so that the local server's own identity is never lent.
pub fn connection(server: pg_sys::Oid, user: pg_sys::Oid) -> Result<ServerConnection, Refusal> {
    // SAFETY: guarded look-ups; results are copied at once.
    let (server_name, local_user, options, mapping, is_superuser) = unsafe {
        let found = pg_sys::GetForeignServer(server);
        let mapping = pg_sys::GetUserMapping(user, server);
        (
            text_of((*found).servername),
            text_of(pg_sys::GetUserNameFromId(user, false)),
            OptionList::read((*found).options),
            OptionList::read((*mapping).options),
            pg_sys::superuser_arg(user),
        )
    };
    let mut hasher = DefaultHasher::new();
    (&options, &mapping).hash(&mut hasher);
    let password = mapping.get("password").filter(|p| !p.is_empty()).map(str::to_string);
    let is_exempt = is_superuser || mapping.get_bool("password_required") == Some(false);
    if password.is_none() && !is_exempt {
        return Err(Refusal::new(SqlState::PASSWORD_REQUIRED, "password is required")
            .with_detail("Users who are no superusers must give a password in the user mapping."));
    }
    let remote_user = mapping.get("user").unwrap_or(&local_user).to_string();
    Ok(ServerConnection {
        generation: hasher.finish(),
        options: options.get("options").map(str::to_string),
        is_kept: options.get_bool("keep_connections").unwrap_or(true),
        host: options
            .get("hostaddr")
            .or_else(|| options.get("host"))
            .unwrap_or("localhost")
            .to_string(),
        port: options.get_number("port").unwrap_or(5432),
        dbname: options.get("dbname").unwrap_or(&remote_user).to_string(),
        user: remote_user,
        password,
        password_must_be_used: !is_exempt,
        application_name: options.get("application_name").map(str::to_string),
        connect_timeout: options.get_number("connect_timeout").map(Duration::from_secs),
        server_name,
    })
}
