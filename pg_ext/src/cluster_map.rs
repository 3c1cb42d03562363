//! What the wrapper asks of the cluster, answered from this node's catalogues.
#![allow(unsafe_code)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use cluster::NodeId;
use cluster::sharding::{LeafName, REMOTE_SCHEMA};
use cluster::txn::Gid;
use fdw::{ClusterMap, Endpoint, PreparedParticipant, Refusal};
use pgrx::prelude::*;

use crate::catalog::registry;
use crate::lists::text;
use crate::membership::{self, Address};
use crate::node_session::NODE_ROLE;
use crate::recovery;
use crate::report::Report;
use crate::{gate, snapshot};

/// The cluster as this node knows it.
pub struct Catalogs;

impl ClusterMap for Catalogs {
    fn node_of_leaf(&self, relid: pg_sys::Oid) -> Result<Option<NodeId>, Refusal> {
        // SAFETY: syscache look-ups in a transaction; palloc'd names or null.
        let (schema, name) = unsafe {
            let namespace = pg_sys::get_rel_namespace(relid);
            (text(pg_sys::get_namespace_name(namespace)), text(pg_sys::get_rel_name(relid)))
        };
        if schema != REMOTE_SCHEMA {
            return Ok(None);
        }
        let Some(leaf) = LeafName::parse(&name) else { return Ok(None) };
        let registry = registry().map_err(Refusal::from)?;
        let node = registry.table(leaf.table).and_then(|table| {
            let placement = registry.placement(table.group_id)?;
            placement.get(usize::from(leaf.partition.0)).copied()
        });
        Ok(node)
    }

    fn endpoint(&self, node: NodeId) -> Result<Endpoint, Refusal> {
        let identity = membership::my_identity().map_err(Refusal::from)?;
        let registry = registry().map_err(Refusal::from)?;
        let Some(member) = registry.member(node) else {
            let missing = PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT;
            return Err(Report::new(missing, format!("node {node} does not exist"))
                .hint("Look at shardman.nodes and shardman.parts.")
                .into());
        };
        let address = Address::parse(&member.connstr).map_err(Refusal::from)?;
        let mut generation = DefaultHasher::new();
        (&member.connstr, member.system_identifier, &identity.credential.0).hash(&mut generation);
        Ok(Endpoint {
            node,
            name: member.name.clone(),
            host: address.host,
            port: address.port,
            dbname: address.dbname,
            user: NODE_ROLE.to_string_lossy().into_owned(),
            password: Some(identity.credential.clone()),
            generation: generation.finish(),
        })
    }

    fn local_node(&self) -> Option<NodeId> {
        membership::my_identity_if_any().ok().flatten().map(|identity| identity.node_id)
    }

    fn gid(&self, xid: u64, participant: u32) -> String {
        let coordinator = self.local_node().unwrap_or(NodeId(0));
        Gid { coordinator, xid, participant }.to_string()
    }

    fn record_decision(&self, participants: &[PreparedParticipant]) -> Result<(), Refusal> {
        let xid = participants.first().and_then(|first| Gid::parse(&first.gid));
        let nodes: Vec<_> =
            participants.iter().filter_map(|participant| participant.node).collect();
        match xid {
            // Servers that a user created by hand are not recovered.
            Some(gid) if !nodes.is_empty() => Ok(recovery::record_decision(gid.xid, &nodes)?),
            _ => Ok(()),
        }
    }

    fn check_isolation(&self, node: NodeId, others: &dyn Fn() -> usize) -> Result<(), Refusal> {
        Ok(snapshot::check_access(node, others)?)
    }

    fn leave_to_recovery(&self, deadline: Instant) -> bool {
        gate::await_settlement(gate::note_incident(), deadline)
    }

    fn handshake(&self, node: NodeId) -> Option<String> {
        let identity = membership::my_identity().ok()?;
        let system_identifier = registry().ok()?.member(node)?.system_identifier;
        Some(format!(
            "SELECT shardman.check_member('{}', {node}, {})",
            identity.cluster_id, system_identifier.0 as i64
        ))
    }
}
