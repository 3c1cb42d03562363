//! Prints expressions over several relations as the other side knows them.
//!
//! PostgreSQL prints the expressions; relations and columns get their remote
//! names by a range table made for the purpose. Its entries are those of CTEs,
//! the one kind whose column names PostgreSQL takes as they are given.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::Parameters;
use super::from::{Condition, From};
use super::select::make;
use crate::backend::{Attribute, attributes, bytes_of, cells, string_node};
use crate::placement::{Placement, RemoteRelation};

/// A relation of the remote query.
struct Named {
    /// Range table index in the plan.
    index: u32,
    relid: pg_sys::Oid,
    /// There, qualified.
    sql_name: Vec<u8>,
    attributes: Vec<Attribute>,
    /// Of `attributes`, there, as SQL.
    columns: Vec<Vec<u8>>,
    /// All columns of the relation here, dropped ones included; ctid comes next.
    natts: i16,
}

/// Prints over a fixed set of relations.
pub struct Printer<'a> {
    relations: Vec<Named>,
    /// Of PostgreSQL's printer.
    context: *mut pg_sys::List,
    /// Several relations need aliases: r1, r2, …
    has_aliases: bool,
    /// Filters printed so far.
    filters: u32,
    parameters: &'a mut Parameters,
}

impl<'a> Printer<'a> {
    /// For relations by range table index, ascending.
    ///
    /// # Safety
    /// The entries are the planner's; their relations are locked.
    pub unsafe fn new(
        entries: &[(u32, *const pg_sys::RangeTblEntry)],
        placement: Placement,
        parameters: &'a mut Parameters,
    ) -> Printer<'a> {
        // SAFETY: per the contract; guarded.
        unsafe {
            let (mut table, mut names) = (null_mut(), null_mut());
            let mut relations = Vec::new();
            for (number, (index, rte)) in (1..).zip(entries) {
                let named = named(*index, (**rte).relid, placement);
                let alias = CString::new(format!("r{number}")).unwrap_or_default();
                let alias = pg_sys::pstrdup(alias.as_ptr());
                table =
                    pg_sys::lappend(table, entry(&named, (**rte).relid, placement, alias).cast());
                names = pg_sys::lappend(names, alias.cast());
                relations.push(named);
            }
            let statement: *mut pg_sys::PlannedStmt = make(NodeTag::T_PlannedStmt);
            (*statement).rtable = table;
            let context = pg_sys::deparse_context_for_plan_tree(statement, names);
            let has_aliases = relations.len() > 1;
            Printer { relations, context, has_aliases, filters: 0, parameters }
        }
    }

    /// Has a single relation, too, get an alias that goes with all its columns.
    pub fn qualify_columns(&mut self) {
        self.has_aliases = true;
    }

    /// An expression, its parameters numbered.
    ///
    /// # Safety
    /// `expression` is a valid expression over the printer's relations.
    pub unsafe fn expression(&mut self, expression: *mut Node) -> Vec<u8> {
        // SAFETY: per the contract; a copy is renumbered and printed.
        unsafe {
            let copy = self.parameters.number(pg_sys::copyObjectImpl(expression.cast()).cast());
            renumber(copy, (&raw mut self.relations).cast());
            let text = pg_sys::deparse_expression(copy, self.context, self.has_aliases, false);
            bytes_of(text)
        }
    }

    /// A column, system column or whole row of a relation, as a value that is
    /// NULL where the relation's row is.
    ///
    /// # Safety
    /// `variable` is a Var of one of the printer's relations.
    pub unsafe fn variable(&mut self, variable: *mut pg_sys::Var) -> Vec<u8> {
        // SAFETY: per the contract.
        let (index, column) = unsafe { ((*variable).varno, (*variable).varattno) };
        if column > 0 || i32::from(column) == pg_sys::SelfItemPointerAttributeNumber {
            // SAFETY: per the contract.
            return unsafe { self.expression(variable.cast()) };
        }
        let Some(at) = self.relations.iter().position(|r| r.index as i32 == index) else {
            return b"NULL".to_vec();
        };
        let relation = &self.relations[at];
        let alias = format!("r{}", at + 1);
        let value = match i32::from(column) {
            0 => {
                let prefix = [alias.as_bytes(), b"."].concat();
                let columns: Vec<Vec<u8>> =
                    relation.columns.iter().map(|c| [&prefix, c.as_slice()].concat()).collect();
                [b"ROW(", columns.join(&b", "[..]).as_slice(), b")"].concat()
            }
            pg_sys::TableOidAttributeNumber => {
                format!("'{}'::oid", relation.relid.to_u32()).into_bytes()
            }
            // Transaction and command numbers of there mean nothing here.
            pg_sys::MinTransactionIdAttributeNumber | pg_sys::MaxTransactionIdAttributeNumber => {
                b"'0'::xid".to_vec()
            }
            _ => b"'0'::cid".to_vec(),
        };
        let test = format!("CASE WHEN {alias}.* IS DISTINCT FROM NULL THEN ");
        [test.as_bytes(), &value, b" END"].concat()
    }

    /// Conditions with AND between them; empty for none.
    ///
    /// # Safety
    /// Their expressions are valid and over the printer's relations.
    pub unsafe fn conditions(&mut self, conditions: &[Condition]) -> Vec<u8> {
        let mut printed = Vec::new();
        for condition in conditions {
            printed.push(match condition {
                // SAFETY: per the contract.
                Condition::Expression(e) => parenthesised(unsafe { self.expression(*e) }),
                Condition::Exists { is_negated, from, conditions } => {
                    let mut text =
                        if *is_negated { b"NOT EXISTS (".to_vec() } else { b"EXISTS (".to_vec() };
                    // SAFETY: per the contract.
                    unsafe {
                        text.extend(b"SELECT FROM ");
                        text.extend(self.from(from));
                        text.extend(self.clause(b" WHERE ", conditions));
                    }
                    text.push(b')');
                    text
                }
            });
        }
        printed.join(&b" AND "[..])
    }

    /// The conditions with a word in front; empty for none.
    ///
    /// # Safety
    /// As [`Printer::conditions`].
    pub unsafe fn clause(&mut self, word: &[u8], conditions: &[Condition]) -> Vec<u8> {
        // SAFETY: per the contract.
        let text = unsafe { self.conditions(conditions) };
        if text.is_empty() { text } else { [word, text.as_slice()].concat() }
    }

    /// A FROM clause without its word.
    ///
    /// # Safety
    /// As [`Printer::conditions`].
    pub unsafe fn from(&mut self, from: &From) -> Vec<u8> {
        match from {
            From::Relation(index) => {
                let at = self.relations.iter().position(|r| r.index == *index);
                let mut text = at.map(|at| self.relations[at].sql_name.clone()).unwrap_or_default();
                if let Some(at) = at
                    && self.has_aliases
                {
                    text.extend(format!(" r{}", at + 1).bytes());
                }
                text
            }
            From::Join { kind, left, right, on } => {
                // SAFETY: per the contract.
                let (left, right, on) =
                    unsafe { (self.from(left), self.from(right), self.conditions(on)) };
                let on = if on.is_empty() { b"TRUE".to_vec() } else { on };
                let parts: [&[u8]; 8] =
                    [b"(", &left, b" ", kind.sql(), b" ", &right, b" ON ", &parenthesised(on)];
                [parts.concat().as_slice(), b")"].concat()
            }
            // Names of the rows stay visible, which a sub-select would hide.
            From::Filtered { from, conditions } => {
                // SAFETY: per the contract.
                let (from, on) = unsafe { (self.from(from), self.conditions(conditions)) };
                self.filters += 1;
                let one_row = format!(" INNER JOIN (SELECT) f{} ON ", self.filters);
                let parts: [&[u8]; 5] = [b"(", &from, one_row.as_bytes(), &parenthesised(on), b")"];
                parts.concat()
            }
        }
    }

    /// The alias of a relation, for `FOR UPDATE OF`.
    pub fn alias(&self, index: u32) -> Vec<u8> {
        let at = self.relations.iter().position(|r| r.index == index);
        at.map(|at| format!("r{}", at + 1).into_bytes()).unwrap_or_default()
    }
}

fn parenthesised(text: Vec<u8>) -> Vec<u8> {
    if is_parenthesised(&text) { text } else { [b"(", text.as_slice(), b")"].concat() }
}

/// Whether one pair of parentheses is around all of it. Wrong only towards no:
/// a quoted parenthesis counts.
fn is_parenthesised(text: &[u8]) -> bool {
    let mut depth = 0_i32;
    let mut quoted = None;
    for (i, byte) in text.iter().enumerate() {
        match (quoted, byte) {
            (Some(quote), byte) => {
                if *byte == quote {
                    quoted = None;
                }
                // A backslash may hide a quote.
                if *byte == b'\\' {
                    return false;
                }
            }
            (None, b'\'' | b'"') => quoted = Some(*byte),
            (None, b'(') => depth += 1,
            (None, b')') => {
                depth -= 1;
                if depth == 0 {
                    return i + 1 == text.len() && text[0] == b'(';
                }
            }
            _ => {}
        }
        if depth == 0 {
            return false;
        }
    }
    false
}

unsafe fn named(index: u32, relid: pg_sys::Oid, placement: Placement) -> Named {
    // SAFETY: guarded; the relation is locked.
    unsafe {
        let relation = pg_sys::table_open(relid, pg_sys::NoLock as i32);
        let attributes = attributes((*relation).rd_att);
        let natts = (*(*relation).rd_att).natts as i16;
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        let there = RemoteRelation::of(relid, placement);
        let columns = attributes.iter().map(|a| there.column(a)).collect();
        Named { index, relid, sql_name: there.sql_name, attributes, columns, natts }
    }
}

/// An entry whose columns have their remote names, and ctid after them.
unsafe fn entry(
    named: &Named,
    relid: pg_sys::Oid,
    placement: Placement,
    alias: *mut std::ffi::c_char,
) -> *mut pg_sys::RangeTblEntry {
    let there = RemoteRelation::of(relid, placement);
    // SAFETY: nodes made here; guarded.
    unsafe {
        let mut columns = null_mut();
        for number in 1..=named.natts {
            // An empty name is that of a dropped column.
            let found = named.attributes.iter().find(|a| a.number == number);
            let name = found.map(|a| there.column_name(a)).unwrap_or_default();
            columns = pg_sys::lappend(columns, string_node(&name).cast());
        }
        columns = pg_sys::lappend(columns, string_node(b"ctid").cast());
        let entry: *mut pg_sys::RangeTblEntry = make(NodeTag::T_RangeTblEntry);
        (*entry).rtekind = pg_sys::RTEKind::RTE_CTE;
        (*entry).ctename = alias;
        (*entry).eref = pg_sys::makeAlias(alias, columns);
        entry
    }
}

/// Gives Vars the numbers of the printer's relations, in place.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn renumber(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: a copy that the printer owns; casts follow the tag; `context` is
    // the printer's list of relations.
    unsafe {
        if (*node).type_ == NodeTag::T_Var {
            let variable = &mut *node.cast::<pg_sys::Var>();
            let relations = &*context.cast::<Vec<Named>>();
            if variable.varlevelsup == 0
                && let Some(at) = relations.iter().position(|r| r.index as i32 == variable.varno)
            {
                variable.varno = at as i32 + 1;
                variable.varnosyn = 0;
                variable.varattnosyn = 0;
                if i32::from(variable.varattno) == pg_sys::SelfItemPointerAttributeNumber {
                    variable.varattno = relations[at].natts + 1;
                }
            }
            return false;
        }
        pg_sys::expression_tree_walker(node, Some(renumber), context)
    }
}

/// As [`Printer`] wants a list of expressions.
///
/// # Safety
/// `list` is a list of expressions.
pub unsafe fn expressions(list: *mut pg_sys::List) -> Vec<Condition> {
    // SAFETY: per the contract.
    unsafe { cells::<Node>(list) }.map(Condition::Expression).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parentheses_are_added_only_where_they_are_missing() {
        let after = |text: &str| String::from_utf8(parenthesised(text.into())).unwrap();
        assert_eq!(after("(a = b)"), "(a = b)");
        assert_eq!(after("a"), "(a)");
        assert_eq!(after("(a) AND (b)"), "((a) AND (b))");
        assert_eq!(after("(a = ')')"), "(a = ')')");
        assert_eq!(after("(a = E'\\')')"), "((a = E'\\')'))");
    }
}
