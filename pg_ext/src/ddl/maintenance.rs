//! VACUUM, ANALYZE, CLUSTER and REINDEX of sharded tables, on the nodes that
//! hold the rows. They commit as they go, so they run in sessions of their own
//! and not in the user's transaction; an ANALYZE within one is told to the
//! transaction's own participants.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::null_mut;

use cluster::NodeId;
use cluster::ddl::Maintenance;
use cluster::sharding::{LEAF_SCHEMA, LeafName, NodeCommand, quote_identifier};
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

use super::OwnWork;
use super::fences::{relation_of, table_of_index};
use super::step::{Finish, Step};
use crate::catalog::{Registry, ShardedTable, qualified_name, registry};
use crate::lists::{elements, list_of, text};
use crate::membership::{Dialog, my_identity};
use crate::node_session::{self, MAINTAIN, is_node_session};
use crate::peers;
use crate::report::{OrRaise, Report};

/// What is left to do when the statement has run here.
pub struct MaintainedHere {
    elsewhere: Vec<(NodeId, String)>,
    /// Other nodes take part in the user's transaction.
    is_in_transaction: bool,
    /// The last thing, here.
    finally: Option<String>,
}

/// Looks at one of the four.
///
/// # Safety
/// `pstmt` is a valid utility statement: VACUUM, CLUSTER or REINDEX.
pub unsafe fn before(pstmt: *mut pg_sys::PlannedStmt, at_top: bool) -> Result<Step, Report> {
    if is_node_session() || registry()?.members().len() < 2 {
        return Ok(Step::Pass);
    }
    // SAFETY: the caller's; the tags name the structs. IsInTransactionBlock
    // reads the backend's state.
    unsafe {
        let statement = (*pstmt).utilityStmt;
        let is_in_transaction = pg_sys::IsInTransactionBlock(at_top);
        match (*statement).type_ {
            pg_sys::NodeTag::T_VacuumStmt => vacuum(pstmt, statement.cast(), is_in_transaction),
            // In a transaction PostgreSQL refuses them.
            _ if is_in_transaction => Ok(Step::Pass),
            pg_sys::NodeTag::T_ClusterStmt => cluster(statement.cast()),
            _ => reindex(statement.cast()),
        }
    }
}

/// A relation that VACUUM or ANALYZE names, and the sharded table that it is.
type Named<'a> = (*mut pg_sys::VacuumRelation, Option<&'a ShardedTable>);

/// SAFETY: `statement` is that of `pstmt`.
unsafe fn vacuum(
    pstmt: *mut pg_sys::PlannedStmt,
    statement: *mut pg_sys::VacuumStmt,
    is_in_transaction: bool,
) -> Result<Step, Report> {
    let registry = registry()?;
    // SAFETY: the grammar makes lists of VacuumRelation and DefElem.
    unsafe {
        let named: Vec<Named<'_>> = elements::<pg_sys::VacuumRelation>((*statement).rels)
            .map(|item| (item, sharded(&registry, (*item).relation)))
            .collect();
        if named.iter().all(|(_, table)| table.is_none()) {
            return Ok(Step::Pass);
        }
        match ((*statement).is_vacuumcmd, is_in_transaction) {
            (true, true) => Ok(Step::Pass),
            (true, false) => vacuum_alone(pstmt, &named, &registry),
            (false, true) => analyze_within((*statement).options, &named, &registry),
            (false, false) => {
                let options = print_options((*statement).options, |_| true);
                let sql = format!("ANALYZE {options}{}", print_sharded(&named));
                let elsewhere = on_owners(&registry, &named, &sql)?;
                Ok(after_running(null_mut(), elsewhere, false, None))
            }
        }
    }
}

/// PostgreSQL would warn of each partition that is on another node, so it gets a
/// list without them. The statistics of the tables as a whole come last.
///
/// SAFETY: `pstmt` is a VACUUM, `named` its relations.
unsafe fn vacuum_alone(
    pstmt: *mut pg_sys::PlannedStmt,
    named: &[Named<'_>],
    registry: &Registry,
) -> Result<Step, Report> {
    // SAFETY: the caller's; the copy is ours.
    unsafe {
        let copy: *mut pg_sys::PlannedStmt = pg_sys::copyObjectImpl(pstmt.cast()).cast();
        let local: *mut pg_sys::VacuumStmt = (*copy).utilityStmt.cast();
        let options = (*local).options;
        let sql = format!("VACUUM {}{}", print_options(options, |_| true), print_sharded(named));
        let elsewhere = on_owners(registry, named, &sql)?;
        let analyzes = elements::<pg_sys::DefElem>(options)
            .any(|option| name_of(option) == "analyze" && pg_sys::defGetBoolean(option));
        let finally = analyzes.then(|| {
            let for_both = print_options(options, |option| {
                matches!(name_of(option).as_str(), "verbose" | "skip_locked")
            });
            let all = named.iter().filter_map(|(item, _)| {
                let name = qualified_name(relation_of((**item).relation)?);
                Some(name + &print_columns((**item).va_cols))
            });
            format!("ANALYZE {for_both}{}", all.collect::<Vec<_>>().join(", "))
        });
        only_local_leaves(local, registry)?;
        for item in elements::<pg_sys::VacuumRelation>((*local).rels) {
            (*item).va_cols = null_mut();
        }
        let others = elements::<pg_sys::DefElem>(options);
        (*local).options = list_of(others.filter(|option| name_of(*option) != "analyze"));
        if (*local).rels.is_null() {
            return Ok(Step::Only(finish(elsewhere, false, finally)));
        }
        Ok(after_running(copy, elsewhere, false, finally))
    }
}

/// In the user's transaction a node session cannot look at other nodes, so each
/// owner is given the names of its own partitions.
///
/// SAFETY: options and relations of an ANALYZE.
unsafe fn analyze_within(
    options: *mut pg_sys::List,
    named: &[Named<'_>],
    registry: &Registry,
) -> Result<Step, Report> {
    let mut elsewhere = Vec::new();
    for (node, _) in on_owners(registry, named, "")? {
        let mut leaves = Vec::new();
        for (item, table) in named {
            let Some(table) = table else { continue };
            // SAFETY: the caller's.
            let columns = unsafe { print_columns((**item).va_cols) };
            let names = leaves_of(registry, table, node)?.into_iter();
            leaves.extend(
                names.map(|leaf| format!("{LEAF_SCHEMA}.{}{columns}", quote_identifier(&leaf))),
            );
        }
        // SAFETY: the caller's.
        let options = unsafe { print_options(options, |_| true) };
        elsewhere.push((node, format!("ANALYZE {options}{}", leaves.join(", "))));
    }
    Ok(after_running(null_mut(), elsewhere, true, None))
}

/// SAFETY: a valid DefElem.
unsafe fn name_of(option: *mut pg_sys::DefElem) -> String {
    // SAFETY: the caller's.
    unsafe { text((*option).defname) }
}

unsafe fn cluster(statement: *mut pg_sys::ClusterStmt) -> Result<Step, Report> {
    let registry = registry()?;
    // SAFETY: the caller's valid statement.
    unsafe {
        let Some(table) = sharded(&registry, (*statement).relation) else { return Ok(Step::Pass) };
        let mut sql = format!(
            "CLUSTER {}{}",
            print_options((*statement).params, |_| true),
            qualified_name(table.rel)
        );
        if !(*statement).indexname.is_null() {
            sql += &format!(" USING {}", quote_identifier(&text((*statement).indexname)));
        }
        everywhere(&registry, table, &sql)
    }
}

unsafe fn reindex(statement: *mut pg_sys::ReindexStmt) -> Result<Step, Report> {
    use pg_sys::ReindexObjectType::{REINDEX_OBJECT_INDEX, REINDEX_OBJECT_TABLE};
    let registry = registry()?;
    // SAFETY: the caller's valid statement.
    unsafe {
        let noun = match (*statement).kind {
            REINDEX_OBJECT_INDEX => "INDEX",
            REINDEX_OBJECT_TABLE => "TABLE",
            _ => return Ok(Step::Pass),
        };
        let Some(rel) = relation_of((*statement).relation) else { return Ok(Step::Pass) };
        let Some(table) = registry.table_of(table_of_index(rel)) else { return Ok(Step::Pass) };
        let options = print_options((*statement).params, |_| true);
        let sql = format!("REINDEX {options}{noun} {}", qualified_name(rel));
        everywhere(&registry, table, &sql)
    }
}

/// The statement as it is, then the same on other owners.
fn everywhere(registry: &Registry, table: &ShardedTable, sql: &str) -> Result<Step, Report> {
    let elsewhere = on_owners(registry, &[(null_mut(), Some(table))], sql)?;
    Ok(after_running(null_mut(), elsewhere, false, None))
}

fn after_running(
    statement: *mut pg_sys::PlannedStmt,
    elsewhere: Vec<(NodeId, String)>,
    is_in_transaction: bool,
    finally: Option<String>,
) -> Step {
    Step::Run { statement, finish: Some(finish(elsewhere, is_in_transaction, finally)) }
}

fn finish(
    elsewhere: Vec<(NodeId, String)>,
    is_in_transaction: bool,
    finally: Option<String>,
) -> Finish {
    Finish::Maintain(MaintainedHere { elsewhere, is_in_transaction, finally })
}

impl MaintainedHere {
    /// The same elsewhere.
    pub fn finish(&self) -> Result<(), Report> {
        if self.is_in_transaction {
            self.elsewhere.iter().try_for_each(|(node, statement)| {
                let statement = statement.clone();
                peers::tell(&[*node], &NodeCommand::Run { statement, settings: Vec::new() })
            })?;
        } else {
            Sent::to(&self.elsewhere, false)?.collect()?;
        }
        self.finally.as_ref().map_or(Ok(()), |sql| run_here(sql))
    }
}

/// What is for this node alone.
fn run_here(sql: &str) -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    Ok(Spi::run(sql)?)
}

/// Statements that are running on other nodes.
struct Sent(Vec<(Dialog, u64, String)>);

impl Sent {
    fn to(statements: &[(NodeId, String)], is_whole: bool) -> Result<Sent, Report> {
        // SAFETY: a palloc'd name; the setting's value is copied at once.
        let (user, path) = unsafe {
            let user = text(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false));
            (user, text(pg_sys::namespace_search_path))
        };
        let registry = registry()?;
        let open = |(node, statement): &(NodeId, String)| {
            let member = registry.member(*node).ok_or_else(|| peers::no_such_node(*node))?;
            let mut dialog = Dialog::open_lasting_member_session(member)?;
            let path = quote_literal(&path);
            dialog.rows(&format!("SELECT pg_catalog.set_config('search_path', {path}, false)"))?;
            let statement = statement.clone();
            let command = Maintenance { user: user.clone(), statement, is_whole };
            let json = serde_json::to_string(&command).unwrap_or_default();
            Ok((dialog, format!("SET {MAINTAIN} TO {}", quote_literal(json))))
        };
        let opened = statements.iter().map(open).collect::<Result<Vec<_>, Report>>()?;
        let send = |(dialog, sql): (Dialog, String)| {
            let ticket = dialog.send(&sql)?;
            Ok((dialog, ticket, sql))
        };
        Ok(Sent(opened.into_iter().map(send).collect::<Result<_, Report>>()?))
    }

    /// Waits for all; what fails on one node does not stop the others. A cancel
    /// is passed on.
    fn collect(self) -> Result<(), Report> {
        let mut first = Ok(());
        for (dialog, ticket, sql) in &self.0 {
            let done = dialog.collect(*ticket, sql).map(drop);
            first = first.and(done);
        }
        first
    }
}

/// `SET shardman.maintain` from another node.
pub fn receive(value: &str) -> Result<Step, Report> {
    let unreadable = |detail: String| {
        let violation = PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION;
        Report::new(violation, "could not read a command of another node").detail(detail)
    };
    let command: Maintenance =
        serde_json::from_str(value).map_err(|error| unreadable(error.to_string()))?;
    let sql = CString::new(command.statement).map_err(|error| unreadable(error.to_string()))?;
    // SAFETY: guarded calls in a transaction; the tree lives in the portal's
    // context, as does any utility statement.
    unsafe {
        let statements = pg_sys::pg_parse_query(sql.as_ptr());
        let Some(raw) = elements::<pg_sys::RawStmt>(statements).next() else {
            return Ok(Step::Done);
        };
        let statement = (*raw).stmt;
        let is_known = matches!(
            (*statement).type_,
            pg_sys::NodeTag::T_VacuumStmt
                | pg_sys::NodeTag::T_ClusterStmt
                | pg_sys::NodeTag::T_ReindexStmt
        );
        if !is_known {
            return Err(unreadable("The statement is none of maintenance.".to_owned()));
        }
        // Who may not use a schema finds nothing in it.
        node_session::maintain_as(&command.user)?;
        if (*statement).type_ == pg_sys::NodeTag::T_VacuumStmt && !command.is_whole {
            let vacuum: *mut pg_sys::VacuumStmt = statement.cast();
            only_local_leaves(vacuum, &*registry()?)?;
            if (*vacuum).rels.is_null() {
                node_session::end_maintenance();
                return Ok(Step::Done);
            }
        }
        let mut planned =
            pgrx::PgBox::<pg_sys::PlannedStmt>::alloc_node(pg_sys::NodeTag::T_PlannedStmt);
        planned.commandType = pg_sys::CmdType::CMD_UTILITY;
        planned.canSetTag = true;
        planned.utilityStmt = statement;
        planned.stmt_location = -1;
        // What the portal of such a statement would have; VACUUM takes off one.
        if !pg_sys::ActiveSnapshotSet() {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        Ok(Step::Run { statement: planned.into_pg(), finish: Some(Finish::EndMaintenance) })
    }
}

/// After what was received.
pub fn end_received() {
    node_session::end_maintenance();
    // SAFETY: VACUUM and others have popped it, the rest have not.
    unsafe {
        if pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
    }
}

/// Puts this node's partitions in the place of sharded tables. The list may
/// become empty, which would mean every table there is.
///
/// SAFETY: a valid statement that is the caller's own.
unsafe fn only_local_leaves(
    statement: *mut pg_sys::VacuumStmt,
    registry: &Registry,
) -> Result<(), Report> {
    let me = my_identity()?.node_id;
    let mut list = null_mut();
    // SAFETY: the caller's; copies live in the current context.
    unsafe {
        for item in elements::<pg_sys::VacuumRelation>((*statement).rels) {
            let Some(table) = sharded(registry, (*item).relation) else {
                list = pg_sys::lappend(list, item.cast());
                continue;
            };
            for leaf in leaves_of(registry, table, me)? {
                let name = CString::new(leaf).unwrap_or_default();
                let schema = CString::new(LEAF_SCHEMA).unwrap_or_default();
                let range = pg_sys::makeRangeVar(
                    pg_sys::pstrdup(schema.as_ptr()),
                    pg_sys::pstrdup(name.as_ptr()),
                    -1,
                );
                let one = pg_sys::makeVacuumRelation(range, pg_sys::InvalidOid, (*item).va_cols);
                list = pg_sys::lappend(list, one.cast());
            }
        }
        (*statement).rels = list;
    }
    Ok(())
}

/// SAFETY: null or a valid RangeVar.
unsafe fn sharded(registry: &Registry, range: *mut pg_sys::RangeVar) -> Option<&ShardedTable> {
    // SAFETY: the caller's.
    unsafe { relation_of(range) }.and_then(|rel| registry.table_of(rel))
}

/// A statement for each of the other nodes that hold partitions of some tables.
fn on_owners(
    registry: &Registry,
    named: &[Named<'_>],
    sql: &str,
) -> Result<Vec<(NodeId, String)>, Report> {
    let me = my_identity()?.node_id;
    let tables = named.iter().filter_map(|(_, table)| *table);
    let mut owners: Vec<_> = tables
        .flat_map(|table| registry.placement(table.group_id).unwrap_or_default().to_vec())
        .filter(|node| *node != me)
        .collect();
    owners.sort_unstable();
    owners.dedup();
    Ok(owners.into_iter().map(|node| (node, sql.to_owned())).collect())
}

/// The names of a node's partitions of a table: those of the relations here
/// that are these partitions or stand for them.
fn leaves_of(
    registry: &Registry,
    table: &ShardedTable,
    node: NodeId,
) -> Result<Vec<String>, Report> {
    let placement = registry.placement(table.group_id).unwrap_or_default();
    let is_there = |name: &String| {
        let leaf = LeafName::parse(name);
        leaf.and_then(|leaf| placement.get(usize::from(leaf.partition.0))) == Some(&node)
    };
    let names = Spi::get_one_with_args::<Vec<String>>(
        "SELECT pg_catalog.array_agg(c.relname::pg_catalog.text ORDER BY c.relname)
         FROM pg_catalog.pg_inherits AS i
              JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
         WHERE i.inhparent OPERATOR(pg_catalog.=) $1",
        &[table.rel.into()],
    )?;
    Ok(names.unwrap_or_default().into_iter().filter(is_there).collect())
}

/// SAFETY: a statement's own items.
unsafe fn print_sharded(named: &[Named<'_>]) -> String {
    let tables = named.iter().filter_map(|(item, table)| {
        // SAFETY: the caller's.
        let columns = unsafe { print_columns((**item).va_cols) };
        Some(qualified_name((*table)?.rel) + &columns)
    });
    tables.collect::<Vec<_>>().join(", ")
}

/// SAFETY: NIL or a list of name strings.
unsafe fn print_columns(columns: *mut pg_sys::List) -> String {
    // SAFETY: the caller's.
    let names: Vec<_> = unsafe {
        elements::<pg_sys::String>(columns)
            .map(|name| quote_identifier(&text((*name).sval)))
            .collect()
    };
    if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) }
}

/// SAFETY: NIL or a list of DefElem.
unsafe fn print_options(
    options: *mut pg_sys::List,
    is_meant: impl Fn(*mut pg_sys::DefElem) -> bool,
) -> String {
    // SAFETY: the caller's; a DefElem with an argument has a string for it.
    let print = |option: *mut pg_sys::DefElem| unsafe {
        let name = quote_identifier(&text((*option).defname));
        if (*option).arg.is_null() {
            return name;
        }
        let value = text(pg_sys::defGetString(option));
        let is_number = value.parse::<i64>().is_ok();
        let value = if is_number { value } else { quote_literal(&value) };
        format!("{name} {value}")
    };
    // SAFETY: the caller's.
    let printed: Vec<_> = unsafe {
        elements::<pg_sys::DefElem>(options).filter(|option| is_meant(*option)).map(print).collect()
    };
    if printed.is_empty() { String::new() } else { format!("({}) ", printed.join(", ")) }
}

/// ANALYZE of all sharded tables of the user who asks, on every node.
#[pg_extern(sql = false)]
fn global_analyze() {
    analyze_everywhere().or_raise()
}

fn analyze_everywhere() -> Result<(), Report> {
    let me = my_identity()?.node_id;
    let registry = registry()?;
    // SAFETY: catalogue look-ups.
    let is_own = |rel| unsafe { pg_sys::pg_class_ownercheck(rel, pg_sys::GetUserId()) };
    let tables: Vec<_> =
        registry.tables().iter().map(|table| table.rel).filter(|rel| is_own(*rel)).collect();
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = tables.into_iter().map(qualified_name).collect();
    let statement = format!("ANALYZE {}", names.join(", "));
    let others = registry.members().iter().filter(|member| member.is_active && member.id != me);
    let others: Vec<_> = others.map(|member| (member.id, statement.clone())).collect();
    let sent = Sent::to(&others, true)?;
    run_here(&statement)?;
    sent.collect()
}
