//! `CREATE TABLE … WITH (distributed_by = …)`.
#![allow(unsafe_code)]

use std::ffi::CString;

use cluster::TableId;
use cluster::sharding::{NodeCommand, RequestedDistribution, TableDefinition, place};
use pgrx::prelude::*;

use super::fences::{not_in_leaf_schemas, relation_of};
use super::foreign_keys::{self, Taken};
use super::key_types::check_key_type;
use super::requested::{print_parameter, read_options};
use super::step::{Finish, Step};
use super::table_kind::SHARDED;
use super::unique_keys::check_unique_key;
use super::{create_from_definition, is_serial, lock_ddl, sequences};
use crate::catalog::{next_table_id, read_definition, registry};
use crate::lists::{elements, text};
use crate::moving::not_while_moving;
use crate::report::Report;
use crate::{compat, membership, peers, replicated, schema_change, settings};

/// A parent that PostgreSQL has just created, without leaves.
pub struct CreatedTable {
    namespace: pg_sys::Oid,
    name: CString,
    columns: Vec<String>,
    num_parts: u16,
    /// The table whose group it enters.
    root: Option<Root>,
    leaf_options: Vec<String>,
    foreign_keys: Taken,
}

/// The table named by `colocate_with`.
struct Root {
    group_id: TableId,
    rel: pg_sys::Oid,
    columns: Vec<String>,
    name: String,
}

/// Looks at a CREATE TABLE.
///
/// # Safety
/// `pstmt` is valid and `statement` its CreateStmt.
pub unsafe fn before(
    pstmt: *mut pg_sys::PlannedStmt,
    statement: *mut pg_sys::CreateStmt,
) -> Result<Step, Report> {
    // SAFETY: the caller's.
    unsafe {
        not_in_leaf_schemas((*statement).relation)?;
        let requested = read_options((*statement).options)?;
        if requested.is_replicated {
            return replicated::before_create(pstmt, statement, requested.log.as_deref());
        }
        let Some(distribution) = requested.distribution else {
            refuse_partition_by_hand(statement)?;
            foreign_keys::refuse_reference_from_outside(statement.cast())?;
            return Ok(Step::Pass);
        };
        check_shape(statement, &distribution)?;
        membership::my_identity()?;

        let mut existing = pg_sys::InvalidOid;
        let namespace = pg_sys::RangeVarGetAndCheckCreationNamespace(
            (*statement).relation,
            pg_sys::NoLock as i32,
            &mut existing,
        );
        if pg_sys::isAnyTempNamespace(namespace) {
            return Err(SHARDED.not_permanent("a temporary"));
        }
        let copy: *mut pg_sys::PlannedStmt = pg_sys::copyObjectImpl(pstmt.cast()).cast();
        let create: *mut pg_sys::CreateStmt = (*copy).utilityStmt.cast();
        (*create).options = std::ptr::null_mut();
        if existing != pg_sys::InvalidOid {
            // PostgreSQL says so: an error, or a notice under IF NOT EXISTS.
            return Ok(Step::Run { statement: copy, finish: None });
        }

        lock_ddl()?;
        let foreign_keys = foreign_keys::take_from_create(create)?;
        let root = distribution.colocate_with.as_ref().map(find_root).transpose()?;
        if let Some(root) = &root {
            let message = format!("cannot colocate with table \"{}\"", root.name);
            not_while_moving(root.group_id, &message)?;
        }
        let num_parts = num_parts(&distribution, root.as_ref())?;
        (*create).partspec = compat::hash_partition_spec(&c_strings(&distribution.columns));
        let created = CreatedTable {
            namespace,
            name: std::ffi::CStr::from_ptr((*(*statement).relation).relname).to_owned(),
            columns: distribution.columns,
            num_parts,
            root,
            leaf_options: requested.storage.iter().map(print_parameter).collect(),
            foreign_keys,
        };
        Ok(Step::Run { statement: copy, finish: Some(Finish::CreateTable(created)) })
    }
}

impl CreatedTable {
    /// What a table that exists already is to become.
    pub fn from_table(
        rel: pg_sys::Oid,
        distribution: RequestedDistribution,
        leaf_options: Vec<String>,
    ) -> Result<Self, Report> {
        let root = distribution.colocate_with.as_ref().map(find_root).transpose()?;
        let num_parts = num_parts(&distribution, root.as_ref())?;
        // SAFETY: a syscache look-up.
        let namespace = unsafe { pg_sys::get_rel_namespace(rel) };
        let (name, foreign_keys) = (CString::default(), Taken::default());
        let columns = distribution.columns;
        Ok(CreatedTable { namespace, name, columns, num_parts, root, leaf_options, foreign_keys })
    }

    /// The definition of the table `rel`, sharded so.
    pub fn checked_definition(&self, rel: pg_sys::Oid) -> Result<TableDefinition, Report> {
        self.check_key(rel)?;
        self.definition(rel)
    }

    fn check_key(&self, rel: pg_sys::Oid) -> Result<(), Report> {
        let key = self.columns.iter().map(|column| key_column(rel, column));
        let key = key.collect::<Result<Vec<_>, _>>()?;
        for (column, (type_oid, _)) in self.columns.iter().zip(&key) {
            check_key_type(column, *type_oid)?;
        }
        self.root.as_ref().map_or(Ok(()), |root| root.check_key(&key))
    }

    /// Gives the parent its leaves here and makes the same table everywhere
    /// else. The DDL lock is held.
    pub fn finish(&self) -> Result<(), Report> {
        // SAFETY: makes the parent visible; a syscache look-up by name.
        let rel = unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::get_relname_relid(self.name.as_ptr(), self.namespace)
        };
        self.check_key(rel)?;
        sequences::register_owned(rel)?;
        let definition = self.definition(rel)?;
        create_from_definition(&definition)?;
        peers::tell_all(&NodeCommand::CreateTable(definition))?;
        foreign_keys::add(rel, &self.foreign_keys)
    }

    fn definition(&self, rel: pg_sys::Oid) -> Result<TableDefinition, Report> {
        let table_id = next_table_id()?;
        let registry = registry()?;
        let (group_id, placement) = match &self.root {
            Some(root) => {
                let placement = registry.placement(root.group_id).unwrap_or_default();
                (root.group_id, placement.to_vec())
            }
            None => {
                let missing = schema_change::missing_members()?;
                let active = registry.members().iter();
                let active = active.filter(|it| it.is_active && !missing.contains(&it.id));
                let active: Vec<_> = active.map(|member| member.id).collect();
                (table_id, place(table_id, self.num_parts, &active))
            }
        };
        if placement.len() != usize::from(self.num_parts) {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the cluster has no active node",
            )
            .hint("Look at shardman.nodes and at the server log."));
        }
        let columns = self.columns.clone();
        read_definition(rel, table_id, group_id, columns, placement, self.leaf_options.clone())
    }
}

impl Root {
    /// Colocated tables must hash alike: the same types and collations.
    fn check_key(&self, key: &[(pg_sys::Oid, pg_sys::Oid)]) -> Result<(), Report> {
        let own = self.columns.iter().map(|column| key_column(self.rel, column));
        let own = own.collect::<Result<Vec<_>, _>>()?;
        if own == key {
            return Ok(());
        }
        Err(Report::new(
            PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            format!("cannot colocate with table \"{}\"", self.name),
        )
        .detail("The distribution columns differ in number, type or collation.")
        .hint("Give the distribution columns the types that the other table has."))
    }
}

/// Type and collation of a distribution column that exists: PostgreSQL has
/// just made it part of the partition key.
fn key_column(rel: pg_sys::Oid, column: &str) -> Result<(pg_sys::Oid, pg_sys::Oid), Report> {
    let missing = || unknown_column(column);
    let name = CString::new(column).map_err(|_| missing())?;
    // SAFETY: syscache look-ups.
    unsafe {
        let number = pg_sys::get_attnum(rel, name.as_ptr());
        if number == 0 {
            return Err(missing());
        }
        let (mut type_oid, mut typmod, mut collation) = (pg_sys::InvalidOid, 0, pg_sys::InvalidOid);
        pg_sys::get_atttypetypmodcoll(rel, number, &mut type_oid, &mut typmod, &mut collation);
        Ok((type_oid, collation))
    }
}

fn unknown_column(column: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
        format!("column \"{column}\" named in option \"distributed_by\" does not exist"),
    )
    .hint("The option names columns of the table itself; names are folded to lower case unless quoted.")
}

fn find_root((schema, name): &(Option<String>, String)) -> Result<Root, Report> {
    let printed = schema.iter().chain([name]).cloned().collect::<Vec<_>>().join(".");
    let c_name = |text: &String| CString::new(text.as_str()).ok();
    // SAFETY: the RangeVar and its strings live in the current memory context.
    let rel = unsafe {
        let schema = schema.as_ref().and_then(c_name);
        let schema = schema.map_or(std::ptr::null_mut(), |s| pg_sys::pstrdup(s.as_ptr()));
        let name = pg_sys::pstrdup(c_name(name).unwrap_or_default().as_ptr());
        relation_of(pg_sys::makeRangeVar(schema, name, -1))
    };
    let Some(rel) = rel else {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("table \"{printed}\" named in option \"colocate_with\" does not exist"),
        ));
    };
    let registry = registry()?;
    let Some(table) = registry.table_of(rel) else {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("table \"{printed}\" named in option \"colocate_with\" is not sharded"),
        )
        .hint("Look at shardman.sharded_tables."));
    };
    Ok(Root {
        group_id: table.group_id,
        rel,
        columns: table.distribution_columns.clone(),
        name: printed,
    })
}

fn num_parts(distribution: &RequestedDistribution, root: Option<&Root>) -> Result<u16, Report> {
    let Some(root) = root else {
        return Ok(distribution.num_parts.unwrap_or_else(settings::num_parts));
    };
    let registry = registry()?;
    let placement = registry.placement(root.group_id).unwrap_or_default();
    let group = u16::try_from(placement.len()).unwrap_or_default();
    match distribution.num_parts {
        Some(asked) if asked != group => Err(Report::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("cannot colocate with table \"{}\"", root.name),
        )
        .detail(format!("That table has {group} partitions, this one would have {asked}."))
        .hint("Leave out num_parts: it is that of the other table.")),
        _ => Ok(group),
    }
}

/// What can be told from the statement alone.
///
/// SAFETY: `statement` is a valid CreateStmt.
unsafe fn check_shape(
    statement: *mut pg_sys::CreateStmt,
    distribution: &RequestedDistribution,
) -> Result<(), Report> {
    // SAFETY: the caller's; the grammar's node types.
    unsafe {
        SHARDED.check(statement)?;
        let spec = (*statement).partspec;
        if !spec.is_null() && !same_key(spec, &distribution.columns) {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "PARTITION BY of a sharded table must be HASH over its distribution columns",
            )
            .hint("Leave out PARTITION BY: distributed_by implies it."));
        }
        let has_all_columns = elements::<pg_sys::Node>((*statement).tableElts).all(|element| {
            matches!((*element).type_, pg_sys::NodeTag::T_ColumnDef | pg_sys::NodeTag::T_Constraint)
        });
        if has_all_columns && (*statement).ofTypename.is_null() {
            distribution.columns.iter().try_for_each(|column| check_column(statement, column))?;
        }
        check_unique_keys(statement, &distribution.columns)
    }
}

unsafe fn check_column(statement: *mut pg_sys::CreateStmt, column: &str) -> Result<(), Report> {
    // SAFETY: as in check_shape; typenameTypeId raises for an unknown type what
    // CREATE TABLE itself would.
    unsafe {
        let definition = elements::<pg_sys::ColumnDef>((*statement).tableElts).find(|element| {
            (*element.cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_ColumnDef
                && text((**element).colname) == column
        });
        let definition = definition.ok_or_else(|| unknown_column(column))?;
        let type_name = (*definition).typeName;
        if is_serial(definition) {
            return Ok(());
        }
        check_key_type(column, pg_sys::typenameTypeId(std::ptr::null_mut(), type_name))
    }
}

/// PRIMARY KEY and UNIQUE, at columns and at the table, must contain the
/// distribution columns: uniqueness is enforced leaf by leaf.
unsafe fn check_unique_keys(
    statement: *mut pg_sys::CreateStmt,
    distribution: &[String],
) -> Result<(), Report> {
    // SAFETY: as in check_shape.
    unsafe {
        for element in elements::<pg_sys::Node>((*statement).tableElts) {
            match (*element).type_ {
                pg_sys::NodeTag::T_ColumnDef => {
                    let column: *mut pg_sys::ColumnDef = element.cast();
                    let own = [text((*column).colname)];
                    for constraint in elements::<pg_sys::Constraint>((*column).constraints) {
                        check_unique_key(constraint, &own, distribution)?;
                    }
                }
                pg_sys::NodeTag::T_Constraint => {
                    let constraint: *mut pg_sys::Constraint = element.cast();
                    let keys = elements::<pg_sys::String>((*constraint).keys);
                    let keys: Vec<_> = keys.map(|key| text((*key).sval)).collect();
                    check_unique_key(constraint, &keys, distribution)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// `CREATE TABLE … PARTITION OF` or INHERITS of a sharded table.
unsafe fn refuse_partition_by_hand(statement: *mut pg_sys::CreateStmt) -> Result<(), Report> {
    // SAFETY: inhRelations holds RangeVars.
    let parents = unsafe { elements::<pg_sys::RangeVar>((*statement).inhRelations) };
    for parent in parents {
        // SAFETY: as above.
        let Some(rel) = (unsafe { relation_of(parent) }) else { continue };
        if super::is_leaf_schema(rel) {
            return Err(super::leaf_by_hand(rel));
        }
        if registry()?.replicated_of(rel).is_some() {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                "cannot inherit from a replicated table",
            )
            .hint("Use LIKE to take over columns."));
        }
        if registry()?.table_of(rel).is_some() {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                "cannot create a partition of a sharded table directly",
            )
            .hint("A sharded table has all its partitions from the start."));
        }
    }
    Ok(())
}

unsafe fn same_key(spec: *mut pg_sys::PartitionSpec, columns: &[String]) -> bool {
    // SAFETY: partParams holds PartitionElems.
    unsafe {
        let named = elements::<pg_sys::PartitionElem>((*spec).partParams);
        let plain = |element: *mut pg_sys::PartitionElem| {
            (*element).expr.is_null()
                && (*element).opclass.is_null()
                && (*element).collation.is_null()
        };
        let named: Vec<_> = named.map(|element| (plain(element), text((*element).name))).collect();
        compat::is_hash(spec)
            && named.iter().all(|(plain, _)| *plain)
            && named.iter().map(|(_, name)| name).eq(columns)
    }
}

fn c_strings(texts: &[String]) -> Vec<CString> {
    // PostgreSQL's parser never hands out a name with a NUL in it.
    texts.iter().filter_map(|text| CString::new(text.as_str()).ok()).collect()
}
