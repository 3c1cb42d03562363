//! Where a foreign table's rows are, and what it is called there.
#![allow(unsafe_code)]

use cluster::NodeId;
use pgrx::pg_sys;

use crate::backend::{Attribute, bytes_of, quote_identifier};
use crate::cluster_map;
use crate::error::{Error, Refusal, SqlState};
use crate::options;
use crate::session::Target;

/// Where a foreign table's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On a server that a user created, found through its options and a user
    /// mapping.
    Server(pg_sys::Oid),
    /// On a node of the cluster.
    Node(NodeId),
}

impl Placement {
    /// Asks the cluster map, then the catalogue.
    pub fn of(relid: pg_sys::Oid) -> Result<Placement, Error> {
        if let Some(map) = cluster_map::map()
            && let Some(node) = map.node_of_leaf(relid)?
        {
            return Ok(Placement::Node(node));
        }
        Ok(Placement::Server(options::table_options(relid).0))
    }

    /// Of tables that a plan reads in one remote statement: the one place of all,
    /// or a refusal after which the statement may be run again.
    pub fn of_all(relids: &[pg_sys::Oid]) -> Result<Placement, Error> {
        let Some((first, rest)) = relids.split_first() else {
            return Err(Refusal::internal("a foreign scan reads no table").into());
        };
        let placement = Placement::of(*first)?;
        for relid in rest {
            if Placement::of(*relid)? != placement {
                return Err(Refusal::new(
                    SqlState::SERIALIZATION_FAILURE,
                    "partitions that a plan reads together are on different nodes now",
                )
                .with_hint("Run the statement again.")
                .into());
            }
        }
        Ok(placement)
    }

    /// The session to use. `user` decides the mapping of a user's own server.
    pub fn target(self, user: pg_sys::Oid) -> Target {
        match self {
            Placement::Node(node) => Target::Node(node),
            Placement::Server(server) => Target::Server { server, user },
        }
    }
}

/// Names of a relation and its columns on the other side.
pub struct RemoteRelation {
    /// As SQL, qualified.
    pub sql_name: Vec<u8>,
    relid: pg_sys::Oid,
    has_own_names: bool,
}

impl RemoteRelation {
    /// Looks the names up in the catalogue.
    pub fn of(relid: pg_sys::Oid, placement: Placement) -> RemoteRelation {
        // SAFETY: guarded look-ups; results are copied at once.
        let (name, schema) = unsafe {
            let name = bytes_of(pg_sys::get_rel_name(relid));
            (name, bytes_of(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relid))))
        };
        match placement {
            Placement::Node(_) => {
                let mut sql_name = b"shardman_data.".to_vec();
                sql_name.extend(quote_identifier(&name));
                RemoteRelation { sql_name, relid, has_own_names: false }
            }
            Placement::Server(_) => {
                let (_, options) = options::table_options(relid);
                let or = |option: &str, default: Vec<u8>| {
                    options.get(option).map_or(default, |s| s.as_bytes().to_vec())
                };
                let mut sql_name = quote_identifier(&or("schema_name", schema));
                sql_name.push(b'.');
                sql_name.extend(quote_identifier(&or("table_name", name)));
                RemoteRelation { sql_name, relid, has_own_names: true }
            }
        }
    }

    /// A column's name there, as SQL.
    pub fn column(&self, attribute: &Attribute) -> Vec<u8> {
        quote_identifier(&self.column_name(attribute))
    }

    /// A column's name there.
    pub fn column_name(&self, attribute: &Attribute) -> Vec<u8> {
        let own = if self.has_own_names {
            options::column_name(self.relid, attribute.number)
        } else {
            None
        };
        own.unwrap_or_else(|| attribute.name.clone())
    }

    /// The name there, as SQL, of the column with this number; -1 is ctid.
    pub fn column_by_number(&self, attributes: &[Attribute], number: i32) -> Vec<u8> {
        let found = attributes.iter().find(|a| i32::from(a.number) == number);
        found.map_or_else(|| b"ctid".to_vec(), |a| self.column(a))
    }
}
