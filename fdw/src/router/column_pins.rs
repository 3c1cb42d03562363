//! Which columns a statement's conditions fix to one value.
//!
//! For most tables only what every row of the result must satisfy counts: WHERE,
//! and the ON clauses of inner joins. A table on the nullable side of an outer join
//! matters only where that join's condition holds, so for it this counts, too.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::levels::{Levels, Role};
use super::partition_key::KeyColumn;
use crate::backend::cells;
use crate::error::Refusal;

const EQUAL: i32 = pg_sys::HTEqualStrategyNumber as i32;

/// A range table entry of one of the statement's queries.
pub type Place = (usize, u32);

/// A column of a range table entry.
type Column = (usize, u32, i16);

/// Range table entries that a condition says something about; `None` for all.
type Reach = Option<Rc<[u32]>>;

/// `column = value`, the value being the same for all rows.
#[derive(Clone)]
struct Pin {
    /// Where the condition stands.
    level: usize,
    column: Column,
    /// In the query's own tree.
    value: *mut Node,
    operator: pg_sys::Oid,
    collation: pg_sys::Oid,
    reach: Reach,
}

/// `column = column`.
struct Link {
    level: usize,
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

/// What a column of a query's result is.
enum Output {
    Column(Column),
    Value(*mut Node),
}

/// The equalities of a statement.
pub struct ColumnPins<'a> {
    levels: &'a Levels,
    /// The query that is being looked at.
    level: usize,
    pins: Vec<Pin>,
    links: Vec<Link>,
}

impl ColumnPins<'_> {
    /// # Safety
    /// The statement that `levels` is of lives as long as the result.
    pub unsafe fn of(levels: &Levels) -> Result<ColumnPins<'_>, Refusal> {
        let mut pins = ColumnPins { levels, level: 0, pins: Vec::new(), links: Vec::new() };
        for (at, level) in levels.iter() {
            pins.level = at;
            // SAFETY: per the contract.
            unsafe {
                let query = level.query;
                if (*query).commandType == pg_sys::CmdType::CMD_MERGE && (*query).mergeUseOuterJoin
                {
                    // Rows of the source that do not meet the condition are inserted.
                    let target: Reach = Some(Rc::from([(*query).resultRelation as u32]));
                    for item in cells::<Node>((*(*query).jointree).fromlist) {
                        pins.look_at_join(item, &None)?;
                    }
                    pins.look_at_condition((*(*query).jointree).quals, &target);
                } else {
                    pins.look_at_join((*query).jointree.cast(), &None)?;
                }
            }
        }
        Ok(pins)
    }

    /// The value that fixes a key column of a table.
    pub fn value_of(&self, table: Place, column: &KeyColumn) -> Option<KeyValue> {
        let first = (table.0, table.1, column.attribute);
        // SAFETY: the statement lives, by the contract of `of`.
        unsafe { self.search(table, first, column, &mut Vec::new()) }
    }

    /// All values that a column of a table is compared with, whether they count or not.
    pub fn values_on(&self, table: Place, attribute: i16) -> impl Iterator<Item = *mut Node> {
        let column = (table.0, table.1, attribute);
        self.pins.iter().filter(move |pin| pin.column == column).map(|pin| pin.value)
    }

    /// The value that an expression of the query `level` always has, if it is the
    /// distribution column's.
    ///
    /// # Safety
    /// `node` is an expression of that query.
    pub unsafe fn value_of_expression(
        &self,
        level: usize,
        node: *mut Node,
        column: &KeyColumn,
    ) -> Option<KeyValue> {
        // SAFETY: per the contract.
        unsafe {
            if same_for_all_rows(node) {
                return constant(node, column);
            }
            let found = self.column_of(level, node)?;
            self.search((found.0, found.1), found, column, &mut Vec::new())
        }
    }

    /// `start` is the entry for which conditions are to count.
    unsafe fn search(
        &self,
        start: Place,
        first: Column,
        key: &KeyColumn,
        seen: &mut Vec<(Place, Column)>,
    ) -> Option<KeyValue> {
        if seen.contains(&(start, first)) {
            return None;
        }
        seen.push((start, first));
        let counts = |level: usize, reach: &Reach| {
            level == start.0 && reach.as_ref().is_none_or(|entries| entries.contains(&start.1))
        };
        let mut reached = vec![first];
        let mut at = 0;
        while let Some(here) = reached.get(at).copied() {
            at += 1;
            let here_pins = self.pins.iter().filter(|pin| pin.column == here);
            for pin in here_pins.filter(|pin| counts(pin.level, &pin.reach)) {
                if let Some(function) = hash_function(pin, key) {
                    return Some(KeyValue { value: pin.value, function });
                }
            }
            for link in self.links.iter().filter(|link| counts(link.level, &link.reach)) {
                let there = match link.columns {
                    (a, b) if a == here => b,
                    (a, b) if b == here => a,
                    _ => continue,
                };
                if !reached.contains(&there)
                    && equates(link.operator, link.collation, key).is_some()
                {
                    reached.push(there);
                }
            }
            // SAFETY: the statement lives.
            unsafe {
                if here.0 != start.0
                    && let Some(found) = self.search((here.0, here.1), here, key, seen)
                {
                    return Some(found);
                }
                match self.source(here) {
                    Some(Output::Value(value)) => return constant(value, key),
                    Some(Output::Column(inner)) => {
                        if let Some(found) = self.search((inner.0, inner.1), inner, key, seen) {
                            return Some(found);
                        }
                    }
                    None => {}
                }
                if here.0 == start.0
                    && let Some(outer) = self.as_output(here)
                    && let Some(found) = self.search((outer.0, outer.1), outer, key, seen)
                {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Whether the column `inner` comes out as `outer` of a query around it, such that
    /// each row out there is made of rows with that value. `may_pass` is asked about
    /// each entry on the way: the query and the range table index.
    pub fn is_passed_on(
        &self,
        inner: (usize, u32, i16),
        outer: (usize, u32, i16),
        may_pass: impl Fn(usize, u32) -> bool,
    ) -> bool {
        let mut here = inner;
        while here != outer {
            if !may_pass(here.0, here.1) {
                return false;
            }
            // SAFETY: the statement lives, by the contract of `of`.
            match unsafe { self.as_output(here) } {
                Some(next) => here = next,
                None => return false,
            }
        }
        true
    }

    /// What a column of a subquery or CTE is in there.
    unsafe fn source(&self, column: Column) -> Option<Output> {
        // SAFETY: the statement lives; range table indexes are the analysis's own.
        unsafe {
            let outer = self.levels.level(column.0).query;
            let entry = pg_sys::list_nth((*outer).rtable, column.1 as i32 - 1).cast();
            let inner = self.levels.behind(column.0, entry)?;
            let query = self.levels.level(inner).query;
            if !(*query).setOperations.is_null()
                || (*query).commandType != pg_sys::CmdType::CMD_SELECT
            {
                return None;
            }
            let output = cells::<pg_sys::TargetEntry>((*query).targetList)
                .find(|output| (**output).resno == column.2 && !(**output).resjunk)?;
            let expression: *mut Node = (*output).expr.cast();
            if same_for_all_rows(expression) {
                return Some(Output::Value(expression));
            }
            if let Some(value) = only_value(query, expression) {
                return Some(Output::Value(value));
            }
            self.column_of(inner, expression).map(Output::Column)
        }
    }

    /// The column of the query around that this column is passed on as, if what is
    /// asked of that one may as well be asked of this: fewer rows in here change no
    /// other row.
    unsafe fn as_output(&self, column: Column) -> Option<Column> {
        // SAFETY: the statement lives; lists hold what analysis has put there.
        unsafe {
            let level = self.levels.level(column.0);
            let query = &*level.query;
            let output = cells::<pg_sys::TargetEntry>(query.targetList).find(|output| {
                !(**output).resjunk
                    && self.column_of(column.0, (**output).expr.cast()) == Some(column)
            })?;
            let reference = (*output).ressortgroupref;
            let is_grouped = query.hasAggs || !query.groupClause.is_null();
            let is_group_key = reference != 0
                && cells::<pg_sys::SortGroupClause>(query.groupClause)
                    .any(|clause| (*clause).tleSortGroupRef == reference);
            if query.commandType != pg_sys::CmdType::CMD_SELECT
                || !query.setOperations.is_null()
                || !query.limitCount.is_null()
                || !query.limitOffset.is_null()
                || !query.groupingSets.is_null()
                || query.hasWindowFuncs
                || query.hasDistinctOn
                || (is_grouped && !is_group_key)
            {
                return None;
            }
            match level.role {
                Role::From(index) => Some((level.outer?, index, (*output).resno)),
                Role::With => {
                    let (at, index) = self.only_reference(column.0)?;
                    Some((at, index, (*output).resno))
                }
                Role::Whole | Role::Expression => None,
            }
        }
    }

    /// The one entry that reads a CTE.
    unsafe fn only_reference(&self, cte: usize) -> Option<Place> {
        let mut found = None;
        for (at, level) in self.levels.iter() {
            // SAFETY: the statement lives.
            unsafe {
                for (index, entry) in
                    (1u32..).zip(cells::<pg_sys::RangeTblEntry>((*level.query).rtable))
                {
                    if (*entry).rtekind == pg_sys::RTEKind::RTE_CTE
                        && self.levels.behind(at, entry) == Some(cte)
                        && found.replace((at, index)).is_some()
                    {
                        return None;
                    }
                }
            }
        }
        found
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
        let (reach, level) = (reach.clone(), self.level);
        // SAFETY: a valid OpExpr.
        unsafe {
            let operator = (*comparison).opno;
            let collation = (*comparison).inputcollid;
            let mut sides = cells::<Node>((*comparison).args);
            let (Some(left), Some(right), None) = (sides.next(), sides.next(), sides.next()) else {
                return;
            };
            match (self.column_of(level, left), self.column_of(level, right)) {
                (Some(a), Some(b)) => {
                    self.links.push(Link { level, columns: (a, b), operator, collation, reach });
                }
                (Some(column), None) if same_for_all_rows(right) => {
                    self.pins.push(Pin { level, column, value: right, operator, collation, reach });
                }
                (None, Some(column)) if same_for_all_rows(left) => {
                    let operator = pg_sys::get_commutator(operator);
                    if operator != pg_sys::InvalidOid {
                        self.pins.push(Pin {
                            level,
                            column,
                            value: left,
                            operator,
                            collation,
                            reach,
                        });
                    }
                }
                _ => {}
            }
        }
    }

    /// The column that an expression of the query `level` is, under relabelling and
    /// the names that joins give.
    unsafe fn column_of(&self, level: usize, node: *mut Node) -> Option<Column> {
        // SAFETY: a valid expression; casts follow the tags; range table indexes
        // and alias lists are the analysis's own.
        unsafe {
            let mut node = node;
            while !node.is_null() && (*node).type_ == NodeTag::T_RelabelType {
                node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
            }
            if node.is_null() || (*node).type_ != NodeTag::T_Var {
                return None;
            }
            let variable = &*node.cast::<pg_sys::Var>();
            if variable.varattno <= 0 || variable.varno <= 0 {
                return None;
            }
            let level = self.levels.around(level, variable.varlevelsup)?;
            let query = self.levels.level(level).query;
            let entry: *const pg_sys::RangeTblEntry =
                pg_sys::list_nth((*query).rtable, variable.varno - 1).cast();
            match (*entry).rtekind {
                pg_sys::RTEKind::RTE_RELATION
                | pg_sys::RTEKind::RTE_SUBQUERY
                | pg_sys::RTEKind::RTE_CTE => {
                    Some((level, variable.varno as u32, variable.varattno))
                }
                pg_sys::RTEKind::RTE_JOIN => {
                    let number = i32::from(variable.varattno) - 1;
                    self.column_of(level, pg_sys::list_nth((*entry).joinaliasvars, number).cast())
                }
                _ => None,
            }
        }
    }
}

/// What a column of VALUES with one row always is.
unsafe fn only_value(query: *const pg_sys::Query, node: *mut Node) -> Option<*mut Node> {
    // SAFETY: an expression of that query; casts follow the tags.
    unsafe {
        let variable = node.cast::<pg_sys::Var>();
        if (*node).type_ != NodeTag::T_Var || (*variable).varlevelsup != 0 {
            return None;
        }
        let entry: *const pg_sys::RangeTblEntry =
            pg_sys::list_nth((*query).rtable, (*variable).varno - 1).cast();
        let mut rows = cells::<pg_sys::List>((*entry).values_lists);
        let (Some(row), None) = (rows.next(), rows.next()) else { return None };
        let value = pg_sys::list_nth(row, i32::from((*variable).varattno) - 1).cast();
        same_for_all_rows(value).then_some(value)
    }
}

/// A value as a key's.
unsafe fn constant(value: *mut Node, column: &KeyColumn) -> Option<KeyValue> {
    // SAFETY: a valid expression; guarded.
    let function = unsafe {
        let its = pg_sys::getBaseType(pg_sys::exprType(value));
        column.hash_function(its).or_else(|| {
            pg_sys::IsBinaryCoercible(its, column.input_type)
                .then(|| column.hash_function(column.input_type))
                .flatten()
        })
    };
    function.map(|function| KeyValue { value, function })
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
pub fn equates(
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
pub unsafe fn same_for_all_rows(node: *mut Node) -> bool {
    // SAFETY: per the contract; guarded.
    unsafe { !super::hoist::depends_on_rows(node) && !pg_sys::contain_volatile_functions(node) }
}
