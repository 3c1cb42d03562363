//! `ON CONFLICT` of an INSERT whose rows go to a leaf on another node.
//!
//! The clause is made from the executor's plan, which has it over the parent.
//! Names of columns are the same on leaves, so it is printed over two range table
//! entries with the parent's columns: the leaf and `excluded`. What is the same
//! for all rows (parameters, stable functions, sub-selects that ran) becomes a
//! parameter; the rest must mean the same over there.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::Parameters;
use super::select::make;
use crate::backend::{bytes_of, cells, ints, name_of, oids, quote_identifier, string_node};
use crate::placement::Placement;
use crate::shippable::{NotShippable, is_shippable_grouped};
use crate::types::is_builtin;

/// What the leaf is called in an INSERT with DO UPDATE.
pub const ALIAS: &CStr = c"r1";

/// The clause of an INSERT.
#[derive(Clone, Default)]
pub struct OnConflict {
    /// As SQL, with a space in front; empty for none.
    pub clause: Vec<u8>,
    /// Whether it names the leaf by [`ALIAS`].
    pub has_alias: bool,
    /// Parameters that it takes, in front of those of rows.
    pub parameters: usize,
}

impl OnConflict {
    /// `ON CONFLICT DO NOTHING`, if that is wanted.
    pub fn nothing(is_wanted: bool) -> OnConflict {
        let clause = if is_wanted { b" ON CONFLICT DO NOTHING".to_vec() } else { Vec::new() };
        OnConflict { clause, ..OnConflict::default() }
    }
}

/// The clause of a plan with conflict action and arbiters, over the parent
/// `root`. Takes its parameters from `parameters`; `is_guarded` adds one more, an
/// integer: the command of the transaction over there with which the user's
/// statement began.
///
/// # Safety
/// The executor's plan and open relation.
pub unsafe fn conflict_clause(
    plan: *mut pg_sys::ModifyTable,
    root: pg_sys::Relation,
    target: i32,
    there: Placement,
    is_guarded: bool,
    parameters: &mut Parameters,
) -> Result<OnConflict, NotShippable> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let mut clause = b" ON CONFLICT".to_vec();
        clause.extend(conflict_target((*plan).arbiterIndexes, root));
        if (*plan).onConflictAction != pg_sys::OnConflictAction::ONCONFLICT_UPDATE {
            clause.extend(b" DO NOTHING");
            return Ok(OnConflict { clause, has_alias: false, parameters: 0 });
        }
        let mut printer = Printer { context: context(root), target, there, parameters };
        clause.extend(b" DO UPDATE SET ");
        let columns = ints((*plan).onConflictCols);
        let entries: Vec<*mut pg_sys::TargetEntry> = cells((*plan).onConflictSet).collect();
        if entries.iter().any(|entry| (**entry).resjunk) {
            return Err(NotShippable { reason: "it sets several columns from one sub-select" });
        }
        if entries.is_empty() {
            return Err(NotShippable { reason: "it assigns to generated columns only" });
        }
        for (i, (entry, column)) in entries.iter().zip(columns).enumerate() {
            if i > 0 {
                clause.extend(b", ");
            }
            let name = bytes_of(pg_sys::get_attname((*root).rd_id, column as i16, false));
            clause.extend(quote_identifier(&name));
            clause.extend(b" = ");
            clause.extend(printer.expression((**entry).expr.cast())?);
        }
        let mut conditions = Vec::new();
        // An implicit AND of the planner's.
        for condition in cells::<Node>((*plan).onConflictWhere.cast()) {
            conditions.push([b"(", printer.expression(condition)?.as_slice(), b")"].concat());
        }
        let mut count = printer.parameters.count();
        if is_guarded {
            count += 1;
            let alias = ALIAS.to_str().unwrap_or_default();
            let guard = format!("shardman.is_first_change({alias}.xmin, {alias}.cmin, ${count})");
            conditions.insert(0, guard.into_bytes());
        }
        if !conditions.is_empty() {
            clause.extend(b" WHERE ");
            clause.extend(conditions.join(&b" AND "[..]));
        }
        Ok(OnConflict { clause, has_alias: true, parameters: count })
    }
}

/// `(columns) WHERE predicate` of the arbiters; nothing if there are none. Several
/// have the same columns and expressions; one without a predicate speaks for all.
unsafe fn conflict_target(arbiters: *mut pg_sys::List, root: pg_sys::Relation) -> Vec<u8> {
    // SAFETY: the plan's list of indexes of `root`; guarded.
    unsafe {
        let mut chosen: Option<(pg_sys::Oid, Vec<u8>)> = None;
        for index in oids(arbiters) {
            let relation = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
            let predicate = pg_sys::RelationGetIndexPredicate(relation);
            let predicate = if predicate.is_null() {
                Vec::new()
            } else {
                let name = (*(*root).rd_rel).relname.data.as_ptr();
                let context = pg_sys::deparse_context_for(name, (*root).rd_id);
                let whole = pg_sys::make_ands_explicit(predicate);
                bytes_of(pg_sys::deparse_expression(whole.cast(), context, false, false))
            };
            pg_sys::index_close(relation, pg_sys::AccessShareLock as i32);
            if chosen.is_none() || predicate.is_empty() {
                chosen = Some((index, predicate));
            }
        }
        let Some((index, predicate)) = chosen else { return Vec::new() };
        let columns = bytes_of(pg_sys::pg_get_indexdef_columns(index, false));
        let mut target = [b" (", columns.as_slice(), b")"].concat();
        if !predicate.is_empty() {
            target.extend(b" WHERE (");
            target.extend(predicate);
            target.push(b')');
        }
        target
    }
}

struct Printer<'a> {
    /// Of PostgreSQL's printer.
    context: *mut pg_sys::List,
    /// The parent's number in the plan's range table.
    target: i32,
    there: Placement,
    parameters: &'a mut Parameters,
}

impl Printer<'_> {
    /// SAFETY: a valid expression of the plan.
    unsafe fn expression(&mut self, expression: *mut Node) -> Result<Vec<u8>, NotShippable> {
        // SAFETY: the caller's; a copy is changed and printed.
        unsafe {
            let mut numbering = Numbering { target: self.target, is_odd: false };
            let copy: *mut Node = pg_sys::copyObjectImpl(expression.cast()).cast();
            renumber(copy, (&raw mut numbering).cast());
            if numbering.is_odd {
                return Err(NotShippable { reason: "it refers to a whole row or a system column" });
            }
            // A value of the user's type has the column's type over there, too.
            let is_foreign_value = (*copy).type_ == NodeTag::T_Const
                && !is_builtin((*copy.cast::<pg_sys::Const>()).consttype);
            if is_foreign_value {
                let value = self.parameters.value(copy);
                let text = pg_sys::deparse_expression(value, self.context, true, false);
                return Ok(bytes_of(text));
            }
            let copy = fixed_to_parameters(copy, (self.parameters as *mut Parameters).cast());
            // A column as it is needs no operator, and may be of any type.
            if (*copy).type_ != NodeTag::T_Var {
                let both = pg_sys::bms_add_member(pg_sys::bms_make_singleton(1), 2);
                is_shippable_grouped(copy, both, self.there)?;
            }
            Ok(bytes_of(pg_sys::deparse_expression(copy, self.context, true, false)))
        }
    }
}

struct Numbering {
    target: i32,
    is_odd: bool,
}

/// Gives Vars the numbers of the two entries, in place.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn renumber(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: a copy of our own; the cast follows the tag; `context` is a Numbering.
    unsafe {
        if (*node).type_ == NodeTag::T_Var {
            let variable = &mut *node.cast::<pg_sys::Var>();
            let numbering = &mut *context.cast::<Numbering>();
            variable.varno = match variable.varno {
                number if number == numbering.target => 1,
                pg_sys::INNER_VAR => 2,
                _ => 0,
            };
            numbering.is_odd |= variable.varattno <= 0 || variable.varno == 0;
            variable.varnosyn = 0;
            variable.varattnosyn = 0;
            return false;
        }
        pg_sys::expression_tree_walker(node, Some(renumber), context)
    }
}

/// Copies an expression with everything that is the same for all rows taken out.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn fixed_to_parameters(
    node: *mut Node,
    context: *mut c_void,
) -> *mut Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: valid nodes of our own copy; `context` is the clause's Parameters.
    unsafe {
        if is_value((*node).type_)
            && !pg_sys::contain_var_clause(node)
            && !pg_sys::contain_volatile_functions(node)
            && !pg_sys::contain_subplans(node)
        {
            return (*context.cast::<Parameters>()).value(node);
        }
        // The C prototype leaves the mutator's arguments open.
        type Open = unsafe extern "C-unwind" fn() -> *mut Node;
        let mutator: unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> *mut Node =
            fixed_to_parameters;
        let mutator: Open = std::mem::transmute(mutator);
        pg_sys::expression_tree_mutator(node, Some(mutator), context)
    }
}

/// Kinds of expressions that have a value of their own wherever they stand, but
/// constants, which may be part of the syntax.
fn is_value(tag: NodeTag) -> bool {
    matches!(
        tag,
        NodeTag::T_Param
            | NodeTag::T_FuncExpr
            | NodeTag::T_OpExpr
            | NodeTag::T_SQLValueFunction
            | NodeTag::T_CoalesceExpr
            | NodeTag::T_CoerceViaIO
            | NodeTag::T_MinMaxExpr
            | NodeTag::T_BoolExpr
            | NodeTag::T_ScalarArrayOpExpr
            | NodeTag::T_NullTest
    )
}

/// Two entries with the parent's columns, of the kind whose names PostgreSQL
/// takes as they are given.
unsafe fn context(root: pg_sys::Relation) -> *mut pg_sys::List {
    // SAFETY: nodes made here; the descriptor is the open relation's; guarded.
    unsafe {
        let (mut table, mut names) = (null_mut(), null_mut());
        for alias in [ALIAS.to_owned(), CString::from(c"excluded")] {
            let mut columns = null_mut();
            for i in 0..(*(*root).rd_att).natts as usize {
                let attribute = (*(*root).rd_att).attrs.as_ptr().add(i);
                // An empty name is that of a dropped column.
                let name = if (*attribute).attisdropped {
                    Vec::new()
                } else {
                    name_of(&(*attribute).attname)
                };
                columns = pg_sys::lappend(columns, string_node(&name).cast());
            }
            let alias = pg_sys::pstrdup(alias.as_ptr());
            let entry: *mut pg_sys::RangeTblEntry = make(NodeTag::T_RangeTblEntry);
            (*entry).rtekind = pg_sys::RTEKind::RTE_CTE;
            (*entry).ctename = alias;
            (*entry).eref = pg_sys::makeAlias(alias, columns);
            table = pg_sys::lappend(table, entry.cast());
            names = pg_sys::lappend(names, alias.cast());
        }
        let statement: *mut pg_sys::PlannedStmt = make(NodeTag::T_PlannedStmt);
        (*statement).rtable = table;
        pg_sys::deparse_context_for_plan_tree(statement, names)
    }
}
