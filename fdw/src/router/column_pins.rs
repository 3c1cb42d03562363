//! Which columns a statement's conditions fix to one value.
//!
//! For most tables only what every row of the result must satisfy counts: WHERE,
//! and the ON clauses of inner joins. A table on the nullable side of an outer join
//! matters only where that join's condition holds, so for it this counts, too.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::partition_key::KeyColumn;
use crate::backend::cells;
use crate::error::Refusal;

const EQUAL: i32 = pg_sys::HTEqualStrategyNumber as i32;

/// A column of a range table entry.
type Column = (u32, i16);

/// Range table entries that a condition says something about; `None` for all.
type Reach = Option<Rc<[u32]>>;

/// `column = value`, the value being the same for all rows.
#[derive(Clone)]
pub struct Pin {
    column: Column,
    /// In the query's own tree.
    pub value: *mut Node,
    operator: pg_sys::Oid,
    collation: pg_sys::Oid,
    reach: Reach,
}

/// `column = column`.
struct Link {
    columns: (Column, Column),
    operator: pg_sys::Oid,
    collation: pg_sys::Oid,
    reach: Reach,
}

/// A key column's value and the function that hashes it.
#[derive(Clone, Copy)]
pub struct KeyValue {
    /// In the query's own tree.
    pub value: *mut Node,
    /// As for pruning.
    pub function: pg_sys::Oid,
}

/// The equalities of a statement.
pub struct ColumnPins {
    rtable: *mut pg_sys::List,
    pins: Vec<Pin>,
    links: Vec<Link>,
}

impl ColumnPins {
    /// # Safety
    /// `query` is valid and analysed, and outlives the result.
    pub unsafe fn of(query: *const pg_sys::Query) -> Result<ColumnPins, Refusal> {
        // SAFETY: per the contract.
        unsafe {
            let mut pins =
                ColumnPins { rtable: (*query).rtable, pins: Vec::new(), links: Vec::new() };
            pins.look_at_join((*query).jointree.cast(), &None)?;
            Ok(pins)
        }
    }

    /// The value that fixes a key column of the entry `index`.
    pub fn value_of(&self, index: u32, column: &KeyColumn) -> Option<KeyValue> {
        let counts = |reach: &Reach| reach.as_ref().is_none_or(|entries| entries.contains(&index));
        let mut reached = vec![(index, column.attribute)];
        let mut at = 0;
        while let Some(here) = reached.get(at).copied() {
            at += 1;
            for pin in self.pins.iter().filter(|pin| pin.column == here && counts(&pin.reach)) {
                if let Some(function) = hash_function(pin, column) {
                    return Some(KeyValue { value: pin.value, function });
                }
            }
            for link in self.links.iter().filter(|link| counts(&link.reach)) {
                let there = match link.columns {
                    (a, b) if a == here => b,
                    (a, b) if b == here => a,
                    _ => continue,
                };
                if !reached.contains(&there)
                    && equates(link.operator, link.collation, column).is_some()
                {
                    reached.push(there);
                }
            }
        }
        None
    }

    unsafe fn look_at_join(&mut self, node: *mut Node, reach: &Reach) -> Result<(), Refusal> {
        // SAFETY: a join tree of an analysed query; casts follow the tags.
        unsafe {
            if node.is_null() {
                return Ok(());
            }
            match (*node).type_ {
                NodeTag::T_RangeTblRef => Ok(()),
                NodeTag::T_FromExpr => {
                    let from: *mut pg_sys::FromExpr = node.cast();
                    for item in cells::<Node>((*from).fromlist) {
                        self.look_at_join(item, reach)?;
                    }
                    self.look_at_condition((*from).quals, reach);
                    Ok(())
                }
                NodeTag::T_JoinExpr => {
                    let join: *mut pg_sys::JoinExpr = node.cast();
                    let (left, right) = ((*join).larg, (*join).rarg);
                    match (*join).jointype {
                        pg_sys::JoinType::JOIN_INNER => {
                            self.look_at_join(left, reach)?;
                            self.look_at_join(right, reach)?;
                            self.look_at_condition((*join).quals, reach);
                        }
                        pg_sys::JoinType::JOIN_LEFT | pg_sys::JoinType::JOIN_RIGHT => {
                            let is_left = (*join).jointype == pg_sys::JoinType::JOIN_LEFT;
                            let (kept, nullable) =
                                if is_left { (left, right) } else { (right, left) };
                            let inside: Reach = Some(entries_of(nullable).into());
                            self.look_at_join(kept, reach)?;
                            self.look_at_join(nullable, &inside)?;
                            self.look_at_condition((*join).quals, &inside);
                        }
                        _ => return Err(Refusal::not_supported("it contains a full join")),
                    }
                    Ok(())
                }
                _ => Err(Refusal::not_supported("its FROM contains more than tables and joins")),
            }
        }
    }

    unsafe fn look_at_condition(&mut self, node: *mut Node, reach: &Reach) {
        // SAFETY: a condition of an analysed query; casts follow the tags.
        unsafe {
            if node.is_null() {
                return;
            }
            match (*node).type_ {
                NodeTag::T_List => {
                    cells::<Node>(node.cast()).for_each(|part| self.look_at_condition(part, reach));
                }
                NodeTag::T_BoolExpr => {
                    let all: *mut pg_sys::BoolExpr = node.cast();
                    if (*all).boolop == pg_sys::BoolExprType::AND_EXPR {
                        cells::<Node>((*all).args)
                            .for_each(|part| self.look_at_condition(part, reach));
                    }
                }
                NodeTag::T_OpExpr => self.look_at_comparison(node.cast(), reach),
                _ => {}
            }
        }
    }

    unsafe fn look_at_comparison(&mut self, comparison: *mut pg_sys::OpExpr, reach: &Reach) {
        let reach = reach.clone();
        // SAFETY: a valid OpExpr.
        unsafe {
            let operator = (*comparison).opno;
            let collation = (*comparison).inputcollid;
            let mut sides = cells::<Node>((*comparison).args);
            let (Some(left), Some(right), None) = (sides.next(), sides.next(), sides.next()) else {
                return;
            };
            match (self.column(left), self.column(right)) {
                (Some(a), Some(b)) => {
                    self.links.push(Link { columns: (a, b), operator, collation, reach });
                }
                (Some(column), None) if is_same_for_all_rows(right) => {
                    self.pins.push(Pin { column, value: right, operator, collation, reach });
                }
                (None, Some(column)) if is_same_for_all_rows(left) => {
                    let operator = pg_sys::get_commutator(operator);
                    if operator != pg_sys::InvalidOid {
                        self.pins.push(Pin { column, value: left, operator, collation, reach });
                    }
                }
                _ => {}
            }
        }
    }

    /// The column that an expression is, under relabelling and the names that
    /// joins give.
    unsafe fn column(&self, node: *mut Node) -> Option<Column> {
        // SAFETY: a valid expression; casts follow the tags; range table indexes
        // and alias lists are the analysis's own.
        unsafe {
            let mut node = node;
            while (*node).type_ == NodeTag::T_RelabelType {
                node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
            }
            if (*node).type_ != NodeTag::T_Var {
                return None;
            }
            let variable = &*node.cast::<pg_sys::Var>();
            if variable.varlevelsup != 0 || variable.varattno <= 0 {
                return None;
            }
            let entry: *const pg_sys::RangeTblEntry =
                pg_sys::list_nth(self.rtable, variable.varno - 1).cast();
            match (*entry).rtekind {
                pg_sys::RTEKind::RTE_RELATION => Some((variable.varno as u32, variable.varattno)),
                pg_sys::RTEKind::RTE_JOIN => {
                    let number = i32::from(variable.varattno) - 1;
                    self.column(pg_sys::list_nth((*entry).joinaliasvars, number).cast())
                }
                _ => None,
            }
        }
    }
}

/// The range table entries of a join tree, without those of the joins themselves.
unsafe fn entries_of(node: *mut Node) -> Vec<u32> {
    // SAFETY: a join tree of an analysed query; casts follow the tags.
    unsafe {
        match (*node).type_ {
            NodeTag::T_RangeTblRef => vec![(*node.cast::<pg_sys::RangeTblRef>()).rtindex as u32],
            NodeTag::T_JoinExpr => {
                let join: *mut pg_sys::JoinExpr = node.cast();
                let mut all = entries_of((*join).larg);
                all.extend(entries_of((*join).rarg));
                all
            }
            _ => Vec::new(),
        }
    }
}

/// The type on the right of an operator that means equality for a key column.
fn equates(
    operator: pg_sys::Oid,
    collation: pg_sys::Oid,
    column: &KeyColumn,
) -> Option<pg_sys::Oid> {
    if column.collation != pg_sys::InvalidOid && column.collation != collation {
        return None;
    }
    let (mut strategy, mut left, mut right) = (0, pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: guarded; the second call is made only if the first says yes, as it asks.
    unsafe {
        if !pg_sys::op_in_opfamily(operator, column.family) {
            return None;
        }
        pg_sys::get_op_opfamily_properties(
            operator,
            column.family,
            false,
            &raw mut strategy,
            &raw mut left,
            &raw mut right,
        );
    }
    (strategy == EQUAL).then_some(right)
}

fn hash_function(pin: &Pin, column: &KeyColumn) -> Option<pg_sys::Oid> {
    let value_type = equates(pin.operator, pin.collation, column)?;
    column.hash_function(value_type)
}

/// Whether an expression has one value for the whole statement.
///
/// # Safety
/// `node` is a valid expression of an analysed query.
unsafe fn is_same_for_all_rows(node: *mut Node) -> bool {
    // SAFETY: per the contract; guarded.
    unsafe { !super::hoist::depends_on_rows(node) && !pg_sys::contain_volatile_functions(node) }
}
