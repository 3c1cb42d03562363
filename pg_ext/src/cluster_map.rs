//! What the wrapper asks of the cluster, answered from this node's catalogues.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Instant;

use cluster::sharding::{LEAF_SCHEMA, LeafName, REMOTE_SCHEMA};
use cluster::txn::{Gid, TransactionName};
use cluster::{NodeId, PartitionNumber, TableId};
use fdw::{ClusterMap, Ended, Endpoint, Family, PreparedParticipant, Refusal};
use pgrx::prelude::*;

use crate::catalog::{loaded_registry, registry};
use crate::counters;
use crate::deadlock;
use crate::lists::text;
use crate::membership::{self, Address};
use crate::moving;
use crate::node_session::{NODE_ROLE, is_maintaining, is_node_session};
use crate::peers;
use crate::recovery;
use crate::replicated;
use crate::{gate, row_log, schema_change, snapshot};

/// The cluster as this node knows it.
pub struct Catalogs;

/// A session that works for another node opens none itself: what it did there
/// would be a transaction of its own, which neither sees what the distributed
/// transaction has done nor ends with it, and would wait for its locks.
fn reach_from_a_participant(node: NodeId) -> Refusal {
    Refusal::not_supported(format!(
        "cannot reach node {node} from a function that another node's statement runs here"
    ))
    .with_detail("A function in a constraint, index, generated column or trigger runs on the node of the row.")
    .with_hint("Let the function use only tables of which the rows are on that node, or call it in a statement of its own.")
}

impl ClusterMap for Catalogs {
    fn node_of_leaf(&self, relid: pg_sys::Oid) -> Result<Option<NodeId>, Refusal> {
        if let Some(node) = loaded_registry().and_then(|registry| registry.foreign_leaf(relid)) {
            return Ok(Some(node));
        }
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
        if let Some(node) = node {
            registry.note_foreign_leaf(relid, node);
        }
        Ok(node)
    }

    fn family_of_leaf(&self, relid: pg_sys::Oid) -> Option<Family> {
        self.node_of_leaf(relid).ok()??;
        // SAFETY: syscache look-ups in a transaction; a palloc'd name or null.
        let name = unsafe { text(pg_sys::get_rel_name(relid)) };
        let leaf = LeafName::parse(&name)?;
        let registry = registry().ok()?;
        let table = registry.table(leaf.table)?;
        let own = self.local_node()?;
        let placement = registry.placement(table.group_id)?;
        let here = placement.iter().position(|node| *node == own).and_then(|number| {
            // SAFETY: as above.
            let table_name = unsafe { text(pg_sys::get_rel_name(table.rel)) };
            let number = PartitionNumber(u16::try_from(number).ok()?);
            let sibling = LeafName::new(leaf.table, &table_name, number);
            let name = CString::new(sibling.as_str()).ok()?;
            let schema = CString::new(LEAF_SCHEMA).ok()?;
            // SAFETY: guarded look-ups; both strings live during the calls.
            let oid = unsafe {
                let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
                pg_sys::get_relname_relid(name.as_ptr(), schema)
            };
            (oid != pg_sys::InvalidOid).then_some(oid)
        });
        Some(Family { table: table.table_id.0, here })
    }

    fn colocation_group(&self, parent: pg_sys::Oid) -> Result<Option<TableId>, Refusal> {
        let registry = registry().map_err(Refusal::from)?;
        Ok(registry.table_of(parent).map(|table| table.group_id))
    }

    fn is_replicated(&self, relid: pg_sys::Oid) -> Result<bool, Refusal> {
        let registry = registry().map_err(Refusal::from)?;
        // A statement that reads one with a log is to roll it forward first, here.
        Ok(registry.triggered_of(relid).is_some())
    }

    fn generation(&self, node: NodeId) -> Result<u64, Refusal> {
        let registry = registry().map_err(Refusal::from)?;
        if let Some(known) = registry.generation(node) {
            return Ok(known);
        }
        let generation = self.endpoint(node)?.generation;
        registry.note_generation(node, generation);
        Ok(generation)
    }

    fn endpoint(&self, node: NodeId) -> Result<Endpoint, Refusal> {
        if is_node_session() && !moving::is_mover() && !is_maintaining() {
            return Err(reach_from_a_participant(node));
        }
        let identity = membership::my_identity().map_err(Refusal::from)?;
        let registry = registry().map_err(Refusal::from)?;
        let Some(member) = registry.member(node) else {
            return Err(peers::no_such_node(node).into());
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

    fn opening_statement(&self, node: NodeId) -> Result<Rc<str>, Refusal> {
        deadlock::coordinate(node);
        fdw::session::default_opening_statement()
    }

    fn note_end(&self, how: Ended) {
        counters::note_end(how);
    }

    fn gid(&self, xid: u64, number: u32, participants: &[Option<NodeId>]) -> String {
        let coordinator = self.local_node().unwrap_or(NodeId(0));
        let transaction = TransactionName { coordinator, life: recovery::present_life(), xid };
        let nodes: Vec<_> = participants.iter().flatten().copied().collect();
        let gid = Gid::new(transaction, number, &nodes);
        match schema_change::prepared_under() {
            Some(token) => gid.under(token).to_string(),
            None => gid.to_string(),
        }
    }

    fn record_decision(&self, participants: &[PreparedParticipant]) -> Result<(), Refusal> {
        replicated::check_before_decision()?;
        let gid = participants.first().and_then(|first| Gid::parse(&first.gid));
        let nodes: Vec<_> =
            participants.iter().filter_map(|participant| participant.node).collect();
        // The changes of tables with logs depend on more than their log.
        row_log::note_other_work();
        match gid {
            // The metadata log decides, with the marker for its decision row.
            Some(gid) if gid.token.is_some() => Ok(()),
            // Servers that a user created by hand are not recovered.
            Some(gid) if !nodes.is_empty() => Ok(recovery::record_commit(gid.transaction, &nodes)?),
            _ => Ok(()),
        }
    }

    fn may_roll_back_prepared(&self) -> bool {
        schema_change::may_roll_back_prepared()
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
            "SELECT shardman.check_member('{}', {node}, {}), shardman.serve({}, {}, {})",
            identity.cluster_id,
            system_identifier.0 as i64,
            identity.node_id,
            deadlock::my_pid(),
            deadlock::my_start(),
        ))
    }
}
