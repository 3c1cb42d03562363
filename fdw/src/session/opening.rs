//! From a target to an open session.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster::NodeId;
use pgrx::pg_sys;

use super::{Session, Target};
use crate::backend::text_of;
use crate::cluster_map;
use crate::error::{Error, Refusal, SqlState};
use crate::options;
use crate::transport::{Connection, Interrupts, Opening, OpeningError, Parameters, Readiness};

/// Each address's bound.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What it takes to open a session.
pub struct Destination {
    name: Rc<str>,
    node: Option<NodeId>,
    /// A session with another generation is not used any more.
    pub generation: u64,
    parameters: Parameters,
    handshake: Option<String>,
    /// The session stays open for the next transaction.
    is_kept: bool,
}

/// How a server that is in no catalogue is reached.
pub struct Login {
    /// For messages.
    pub name: String,
    /// Host name, address, or directory of a Unix socket.
    pub host: String,
    /// TCP port, or the number in the Unix socket's name.
    pub port: u16,
    /// Database.
    pub dbname: String,
    /// Role that logs in.
    pub user: String,
    /// Its secret, if it needs one.
    pub password: Option<String>,
}

/// The destination of a login, without handshake, with a bound that may be
/// shorter than the usual one.
pub fn to_login(login: Login, bound: Option<Duration>) -> Destination {
    Destination {
        name: login.name.as_str().into(),
        node: None,
        generation: 0,
        parameters: Parameters {
            startup: startup(&login.dbname, &own_name(), None),
            host: login.host,
            port: login.port,
            user: login.user,
            password: login.password,
            password_must_be_used: false,
            timeout: bound.map_or(CONNECT_TIMEOUT, |bound| bound.min(CONNECT_TIMEOUT)),
        },
        handshake: None,
        is_kept: true,
    }
}

/// A session being opened.
pub struct Attempt {
    destination: Destination,
    opening: Opening,
}

/// What the generation of [`destination`] would be.
pub fn generation(target: Target) -> Result<u64, Error> {
    match (target, cluster_map::map()) {
        (Target::Node(node), Some(map)) => Ok(map.generation(node)?),
        _ => destination(target).map(|destination| destination.generation),
    }
}

/// Looks up how a target is reached.
pub fn destination(target: Target) -> Result<Destination, Error> {
    match target {
        Target::Node(node) => {
            let map = cluster_map::map()
                .ok_or_else(|| Refusal::internal("no cluster map is registered"))?;
            let endpoint = map.endpoint(node)?;
            Ok(Destination {
                name: endpoint.name.as_str().into(),
                node: Some(node),
                generation: endpoint.generation,
                parameters: Parameters {
                    host: endpoint.host,
                    port: endpoint.port,
                    user: endpoint.user,
                    password: endpoint.password.map(|c| c.0),
                    password_must_be_used: false,
                    startup: startup(&endpoint.dbname, &own_name(), None),
                    timeout: CONNECT_TIMEOUT,
                },
                handshake: map.handshake(node),
                is_kept: true,
            })
        }
        Target::Server { server, user } => {
            let found = options::connection(server, user)?;
            let application = found.application_name.as_deref().unwrap_or("shardman");
            let mut startup = startup(&found.dbname, application, Some("pg_catalog"));
            if let Some(options) = found.options {
                startup.push(("options".to_string(), options));
            }
            Ok(Destination {
                name: found.server_name.as_str().into(),
                node: None,
                generation: found.generation,
                parameters: Parameters {
                    host: found.host,
                    port: found.port,
                    user: found.user,
                    password: found.password,
                    password_must_be_used: found.password_must_be_used,
                    startup,
                    timeout: found.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
                },
                handshake: None,
                is_kept: found.is_kept,
            })
        }
    }
}

/// How this node shows in `pg_stat_activity` of another.
fn own_name() -> String {
    match cluster_map::map().and_then(|map| map.local_node()) {
        Some(node) => format!("shardman of node {node}"),
        None => "shardman".to_owned(),
    }
}

/// Settings of the start-up message. Text comes in the local database's
/// encoding and in formats that read the same everywhere.
fn startup(dbname: &str, application: &str, search_path: Option<&str>) -> Vec<(String, String)> {
    // SAFETY: guarded calls that return static strings; session_timezone is
    // set for good once a backend runs queries.
    let (encoding, time_zone) = unsafe {
        let encoding = text_of(pg_sys::GetDatabaseEncodingName());
        let zone = pg_sys::session_timezone;
        let zone = if zone.is_null() {
            String::new()
        } else {
            text_of(pg_sys::pg_get_timezone_name(zone))
        };
        (encoding, zone)
    };
    let mut settings = vec![
        ("database", dbname),
        ("client_encoding", encoding.as_str()),
        ("application_name", application),
        ("DateStyle", "ISO"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "3"),
        // Of a statement that is sent without BEGIN.
        ("default_transaction_isolation", "read committed"),
    ];
    if !time_zone.is_empty() {
        settings.push(("TimeZone", &time_zone));
    }
    if let Some(path) = search_path {
        settings.push(("search_path", path));
    }
    settings.into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

impl Destination {
    /// Resolves the address and begins.
    pub fn start(self) -> Result<Attempt, Error> {
        let opening =
            Opening::start(self.parameters.clone()).map_err(|e| Error::CouldNotConnect {
                node: self.name.to_string(),
                reason: e.to_string(),
                error: None,
            })?;
        Ok(Attempt { destination: self, opening })
    }
}

impl Attempt {
    /// The session, or `None` if an interrupt is pending.
    pub fn advance(&mut self, id: u64) -> Result<Option<Session>, Error> {
        let outcome = self.opening.advance(Interrupts::Heed).map(Some);
        self.finish(id, outcome)
    }

    /// The session, or `None` if it has to wait.
    pub fn poll(&mut self, id: u64) -> Result<Option<Session>, Error> {
        let outcome = self.opening.poll();
        self.finish(id, outcome)
    }

    /// What it waits for.
    pub fn waits_for(&self) -> Option<(RawFd, Readiness, Instant)> {
        self.opening.waits_for()
    }

    fn finish(
        &self,
        id: u64,
        outcome: Result<Option<Connection>, OpeningError>,
    ) -> Result<Option<Session>, Error> {
        let d = &self.destination;
        let node = || d.name.to_string();
        match outcome {
            Ok(None) => Ok(None),
            Ok(Some(connection)) => {
                let mut session =
                    Session::new(id, d.name.clone(), d.node, d.generation, connection);
                session.is_kept = d.is_kept;
                if let Some(query) = &d.handshake {
                    session.handshake = Some(session.simple(query)?);
                }
                Ok(Some(session))
            }
            Err(OpeningError::Interrupted) => Ok(None),
            Err(OpeningError::Failed { reason, error }) => {
                Err(Error::CouldNotConnect { node: node(), reason, error })
            }
            Err(OpeningError::PasswordNotUsed) => Err(Refusal::new(
                SqlState::PASSWORD_REQUIRED,
                format!("password of server \"{}\" was not asked for", d.name),
            )
            .with_detail("A user who is no superuser may only use servers that authenticate the user mapping's password.")
            .with_hint("Change the target server's authentication method, or let a superuser set password_required to false in the user mapping.")
            .into()),
        }
    }
}
