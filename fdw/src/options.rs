use std::time::Duration;
use pgrx::pg_sys;
use crate::error::{Error, Refusal};
pub struct Found { pub server_name: String, pub generation: u64, pub host: String, pub port: u16, pub user: String, pub dbname: String, pub application_name: Option<String>, pub password: Option<String>, pub password_must_be_used: bool, pub connect_timeout: Option<Duration> }
pub fn connection(_s: pg_sys::Oid, _u: pg_sys::Oid) -> Result<Found, Error> { Err(Refusal::internal("stub").into()) }
