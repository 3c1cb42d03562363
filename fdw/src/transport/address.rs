//! Where a server listens.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// One place to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// Unix socket, the full path.
    Unix(PathBuf),
}

impl Address {
    /// The addresses that a host name stands for, in the resolver's order.
    ///
    /// A name that is neither numeric nor a directory is resolved by the
    /// system's resolver, which blocks; node addresses are best numeric.
    pub fn resolve(host: &str, port: u16) -> std::io::Result<Vec<Address>> {
        if host.starts_with('/') {
            return Ok(vec![Address::Unix(PathBuf::from(format!("{host}/.s.PGSQL.{port}")))]);
        }
        let found: Vec<Address> = (host, port).to_socket_addrs()?.map(Address::Tcp).collect();
        if found.is_empty() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                format!("host name \"{host}\" has no address"),
            ));
        }
        Ok(found)
    }
}
