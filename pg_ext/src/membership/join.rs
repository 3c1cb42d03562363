//! Bringing a server into the cluster.
//!
//! `add_node` runs on a member and goes through these steps; an attempt that
//! stopped between two of them is continued by calling it again:
//!
//! - compare the two servers;
//! - `AddNode` in the log, which gives the id;
//! - the newcomer takes its identity;
//! - it receives the log, and a vote if there is room;
//! - under the DDL lock it receives the managed roles, the sharded and the replicated tables;
//! - while writers of the latter wait, it receives what they have changed meanwhile;
//! - `AdmitNode`, which the log refuses if the schema may have changed since.

use cluster::metadata::{
    DdlPosition, DdlRefusal, MetadataCommand, NodeRecord, NodeState, Outcome, Refusal,
};
use cluster::sharding::NodeCommand;
use cluster::{Identity, Mismatch, NodeId, ServerDescription, SystemIdentifier};
use pgrx::prelude::*;
use raft::{Request, Response};

use super::address::Address;
use super::create::already_member;
use super::describe::describe_this_server;
use super::dialog::Dialog;
use super::role::set_credential;
use super::{my_identity, my_identity_if_any};
use crate::catalog::{
    ActingAs, definition_of, definition_of_replicated, last_table_id, registry,
    standalone_sequences,
};
use crate::ddl::lock_ddl;
use crate::replicated::Copying;
use crate::report::Report;
use crate::{schema_change, worker};

/// Brings the server reached by `connstr` in. Returns its id once it is active
/// in the catalogues of every active node.
pub fn add_node(connstr: &str) -> Result<NodeId, Report> {
    let identity = my_identity()?;
    let address = Address::parse(connstr)?;
    let mut newcomer = Dialog::open(&address)?;
    let theirs = describe(&mut newcomer, &address)?;
    describe_this_server()?.admits(&theirs).map_err(|why| not_admitted(&address, &why))?;

    let record = admit(&address, theirs.system_identifier)?;
    worker::wait_until_listed(record.id)?;
    let theirs = Identity {
        node_id: record.id,
        system_identifier: record.system_identifier,
        ..(*identity).clone()
    };
    adopt_there(&mut newcomer, &theirs)?;
    worker::ask(&Request::AddMember { node: record.clone() })?;

    lock_ddl()?;
    let Some((token, schema)) = schema_change::current() else {
        return Err(refused(&Refusal::Ddl(DdlRefusal::TokenRevoked)));
    };
    let mut session = Dialog::open_node_session(&record)?;
    let copying = copy_schema(&mut session, schema.position)?;
    // Before writers wait.
    let mut others = sessions_with_others()?;
    let held = copying.finish(&mut session)?;
    propose(MetadataCommand::AdmitNode { node: record.id, token })?;
    wait_until_active_everywhere(record.id, &mut others)?;
    log!(
        "shardman: writers of replicated tables waited {} ms for node {} to join",
        held.elapsed().as_millis(),
        record.id
    );
    Ok(record.id)
}

/// Brings this server into the cluster of a member: the member does the work.
pub fn join_cluster(member_connstr: &str, own_connstr: &str) -> Result<NodeId, Report> {
    if let Some(identity) = my_identity_if_any()? {
        return Err(already_member(&identity));
    }
    let mut member = Dialog::open(&Address::parse(member_connstr)?)?;
    let own = pgrx::spi::quote_literal(own_connstr);
    let id = member.value(&format!("SELECT shardman.add_node({own})"))?;
    id.parse().map(NodeId).map_err(|_| {
        Report::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, "the member answered no node id")
    })
}

/// Takes the identity that a member gives: from now on node sessions can log
/// in here, and the log will arrive.
pub fn adopt(identity: &str) -> Result<(), Report> {
    let identity: Identity = serde_json::from_str(identity).map_err(|error| {
        Report::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, "could not read the identity")
            .detail(error.to_string())
    })?;
    match my_identity_if_any()? {
        // A member that tries again after an interrupted attempt.
        Some(ours) if *ours == identity => Ok(()),
        Some(ours) => Err(already_member(&ours)),
        None => {
            set_credential(&identity.credential)?;
            worker::ask(&Request::Adopt { identity })?;
            schema_change::begin_to_serve();
            Ok(())
        }
    }
}

fn describe(newcomer: &mut Dialog, address: &Address) -> Result<ServerDescription, Report> {
    let description = newcomer.value("SELECT shardman.describe_server()").map_err(|report| {
        let missing = [
            PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
            PgSqlErrorCode::ERRCODE_INVALID_SCHEMA_NAME,
        ];
        if !missing.contains(&report.code) {
            return report;
        }
        Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("cannot add the server at {}", address.without_user()),
        )
        .detail("Extension shardman does not exist there, or in another version.")
        .hint("Run CREATE EXTENSION shardman there, in the version that this node has.")
    })?;
    serde_json::from_str(&description).map_err(|error| {
        Report::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            "could not read the server's description",
        )
        .detail(error.to_string())
        .hint("All nodes must run the same version of shardman.")
    })
}

fn not_admitted(address: &Address, why: &Mismatch) -> Report {
    let hint = match why {
        Mismatch::Differs { .. } => {
            "Nodes of a cluster must agree on it, since values must hash and sort alike on all of them."
        }
        Mismatch::CannotPrepare => {
            "Set max_prepared_transactions there to max_connections or more and restart that server."
        }
        Mismatch::OtherCluster(_) => "A server belongs to one cluster at a time.",
    };
    Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("cannot add the server at {}", address.without_user()),
    )
    .detail(format!("{}.", capitalized(&why.to_string())))
    .hint(hint)
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// The newcomer's record in the log, in state joining: a new one, or that of an
/// earlier attempt.
fn admit(address: &Address, system_identifier: SystemIdentifier) -> Result<NodeRecord, Report> {
    let connstr = address.without_user();
    let outcome = propose_any(MetadataCommand::AddNode {
        name: String::new(),
        connstr: connstr.clone(),
        system_identifier,
    })?;
    let id = match outcome {
        Outcome::NodeAdded { id } => id,
        Outcome::Refused(Refusal::AlreadyMember { id }) => {
            worker::wait_until_listed(id)?;
            let registry = registry()?;
            if registry.member(id).is_some_and(|member| member.is_active) {
                return Err(refused(&Refusal::AlreadyMember { id })
                    .detail(format!("The server at {connstr} is node {id}.")));
            }
            id
        }
        Outcome::Refused(refusal) => return Err(refused(&refusal)),
        _ => return Err(refused(&Refusal::NoCluster)),
    };
    let state = NodeState::Joining;
    Ok(NodeRecord { id, name: format!("node{id}"), connstr, system_identifier, state })
}

fn adopt_there(newcomer: &mut Dialog, identity: &Identity) -> Result<(), Report> {
    let json = serde_json::to_string(identity).unwrap_or_default();
    let literal = pgrx::spi::quote_literal(&json);
    newcomer.value(&format!("SELECT shardman.adopt({literal})")).map(drop)
}

/// Makes every sharded and replicated table on the newcomer that it does not
/// have yet, each as its owner and in a transaction of its own, and gives it the
/// rows of the latter, as of its beginning. The schema is that after `position`.
fn copy_schema(session: &mut Dialog, position: DdlPosition) -> Result<Copying, Report> {
    // Before the tables that belong to them.
    for statement in managed_roles()? {
        session.apply(&current_user(), &NodeCommand::Run { statement, settings: Vec::new() })?;
    }
    let present = session.column("SELECT table_id FROM shardman.sharded_table")?;
    let sequences = session.column("SELECT sequence_id FROM shardman.managed_sequence")?;
    for (owner, sequence) in standalone_sequences()? {
        if !sequences.contains(&sequence.sequence_id.to_string()) {
            session.apply(&owner, &NodeCommand::CreateSequence(sequence))?;
        }
    }
    let registry = registry()?;
    // One snapshot: rows that refer to each other come together.
    let mut copying = Copying::begin();
    let copies = session.column("SELECT table_id FROM shardman.replicated_table")?;
    for table in registry.replicated_tables() {
        let owner = owner_of(table.rel);
        if !copies.contains(&table.table_id.to_string()) {
            let definition = definition_of_replicated(table)?;
            session.apply(&owner, &NodeCommand::CreateTable(definition))?;
        }
        if table.log.is_none() {
            copying.add(session, &owner, table)?;
        }
    }
    for table in registry.tables() {
        if present.contains(&table.table_id.to_string()) {
            continue;
        }
        let definition = definition_of(table)?;
        session.apply(&owner_of(table.rel), &NodeCommand::CreateTable(definition))?;
    }
    // Tables may reference tables that come later.
    for table in registry.replicated_tables() {
        let foreign_keys = definition_of_replicated(table)?.foreign_keys;
        if !foreign_keys.is_empty() {
            let command = NodeCommand::AddForeignKeys { table: table.table_id, foreign_keys };
            session.apply(&owner_of(table.rel), &command)?;
        }
    }
    for table in registry.tables() {
        let foreign_keys = definition_of(table)?.foreign_keys;
        if !foreign_keys.is_empty() {
            let command = NodeCommand::AddForeignKeys { table: table.table_id, foreign_keys };
            session.apply(&owner_of(table.rel), &command)?;
        }
    }
    let last = last_table_id()?;
    session.apply(&current_user(), &NodeCommand::NoteTableId { last })?;
    session.apply(&current_user(), &NodeCommand::NoteDdlPosition { position })?;
    Ok(copying)
}

/// Statements that make the managed roles of this node on another.
fn managed_roles() -> Result<Vec<String>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let statements = Spi::get_one::<Vec<String>>("SELECT shardman.describe_managed_roles()")?;
    Ok(statements.unwrap_or_default())
}

#[allow(unsafe_code)]
fn owner_of(rel: pg_sys::Oid) -> String {
    // SAFETY: the relation exists, the DDL lock is held; a palloc'd name.
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(rel);
        if relation.is_null() {
            return String::new();
        }
        let owner = (*(*relation).rd_rel).relowner;
        pg_sys::RelationClose(relation);
        crate::lists::text(pg_sys::GetUserNameFromId(owner, false))
    }
}

/// The current user's name.
#[allow(unsafe_code)]
pub fn current_user() -> String {
    // SAFETY: a palloc'd name.
    unsafe { crate::lists::text(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false)) }
}

fn propose_any(command: MetadataCommand) -> Result<Outcome, Report> {
    match worker::ask(&Request::Propose(command))? {
        Response::Proposed { outcome, .. } => Ok(outcome),
        _ => Err(Report::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            "the metadata worker gave an unexpected answer",
        )),
    }
}

fn propose(command: MetadataCommand) -> Result<(), Report> {
    match propose_any(command)? {
        Outcome::Refused(refusal) => Err(refused(&refusal)),
        _ => Ok(()),
    }
}

fn refused(refusal: &Refusal) -> Report {
    let code = match refusal {
        Refusal::AlreadyMember { .. }
        | Refusal::AddressTaken { .. }
        | Refusal::NameTaken { .. } => PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
        Refusal::UnknownNode { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        _ => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
    };
    let message = match refusal {
        Refusal::AlreadyMember { .. } => "the server is a member of this cluster already".into(),
        other => other.to_string(),
    };
    Report::new(code, message).hint("Look at shardman.nodes.")
}

/// From here on any node may place partitions on it, and all can reach it.
fn wait_until_active_everywhere(
    node: NodeId,
    others: &mut [(String, Dialog)],
) -> Result<(), Report> {
    worker::wait_until_active(node)?;
    for (name, session) in others {
        worker::wait_until(
            || {
                let states = session.column(&format!(
                    "SELECT state FROM shardman.node WHERE id OPERATOR(pg_catalog.=) {node}"
                ))?;
                Ok(states.first().is_some_and(|state| state == "active"))
            },
            &format!("node \"{name}\" to take notice of the new member"),
        )?;
    }
    Ok(())
}

/// With the other active nodes, by name.
fn sessions_with_others() -> Result<Vec<(String, Dialog)>, Report> {
    let me = my_identity()?.node_id;
    let registry = registry()?;
    let others = registry.members().iter().filter(|member| member.is_active && member.id != me);
    others.map(|other| Ok((other.name.clone(), Dialog::open_member_session(other)?))).collect()
}
