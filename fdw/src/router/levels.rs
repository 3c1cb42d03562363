//! The queries that a statement is made of: itself, its subqueries, views and CTEs.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Query, RTEKind};

use crate::backend::cells;

/// Where a query stands in its statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is the statement.
    Whole,
    /// It stands in FROM, as this entry of the range table around it.
    From(u32),
    /// It is a CTE.
    With,
    /// It is part of an expression.
    Expression,
}

/// One of them.
pub struct Level {
    /// In the statement's own tree.
    pub query: *mut Query,
    /// The position of the query around it.
    pub outer: Option<usize>,
    /// What it is to that one.
    pub role: Role,
}

/// All of them; the statement itself comes first, and each after those around it.
pub struct Levels(Vec<Level>);

struct Collecting {
    levels: Vec<Level>,
    outer: usize,
}

impl Levels {
    /// # Safety
    /// `query` is valid and analysed, and outlives the result.
    pub unsafe fn of(query: *mut Query) -> Levels {
        let whole = Level { query, outer: None, role: Role::Whole };
        let mut collecting = Collecting { levels: vec![whole], outer: 0 };
        // SAFETY: per the contract; the walker gets `collecting` back as its context.
        unsafe {
            if has_others(query) {
                let context: *mut Collecting = &raw mut collecting;
                pg_sys::query_tree_walker(query, Some(visit), context.cast(), 0);
                (*context).name_roles();
            }
        }
        Levels(collecting.levels)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Level)> {
        self.0.iter().enumerate()
    }

    /// One of them.
    pub fn level(&self, at: usize) -> &Level {
        &self.0[at]
    }

    /// The level `up` steps around the level `at`.
    pub fn around(&self, at: usize, up: u32) -> Option<usize> {
        (0..up).try_fold(at, |at, _| self.0[at].outer)
    }

    /// The query that a range table entry of the level `at` reads from: a subquery
    /// in FROM, a view or a CTE.
    ///
    /// # Safety
    /// The statement still lives; `entry` is of that level.
    pub unsafe fn behind(&self, at: usize, entry: *const pg_sys::RangeTblEntry) -> Option<usize> {
        // SAFETY: per the contract.
        let entry = unsafe { &*entry };
        let query = match entry.rtekind {
            RTEKind::RTE_SUBQUERY => entry.subquery,
            RTEKind::RTE_CTE if !entry.self_reference => {
                let home = self.around(at, entry.ctelevelsup)?;
                // SAFETY: a CTE that analysis has found there; names are C strings.
                unsafe {
                    let name = CStr::from_ptr(entry.ctename);
                    cells::<pg_sys::CommonTableExpr>((*self.0[home].query).cteList)
                        .find(|cte| CStr::from_ptr((**cte).ctename) == name)
                        .map(|cte| (*cte).ctequery.cast())?
                }
            }
            _ => return None,
        };
        self.0.iter().position(|level| level.query == query)
    }
}

impl Collecting {
    unsafe fn name_roles(&mut self) {
        for at in 1..self.levels.len() {
            let query = self.levels[at].query;
            let outer = self.levels[self.levels[at].outer.unwrap_or(0)].query;
            // SAFETY: queries of one statement, valid while it is collected.
            self.levels[at].role = unsafe {
                let entry = (1..)
                    .zip(cells::<pg_sys::RangeTblEntry>((*outer).rtable))
                    .find(|(_, entry)| (**entry).subquery == query);
                let is_cte = || {
                    cells::<pg_sys::CommonTableExpr>((*outer).cteList)
                        .any(|cte| (*cte).ctequery == query.cast())
                };
                match entry {
                    Some((index, _)) => Role::From(index),
                    None if is_cte() => Role::With,
                    None => Role::Expression,
                }
            };
        }
    }
}

/// Whether there is more than the statement itself.
unsafe fn has_others(query: *const Query) -> bool {
    // SAFETY: a valid query.
    unsafe {
        (*query).hasSubLinks
            || !(*query).cteList.is_null()
            || cells::<pg_sys::RangeTblEntry>((*query).rtable)
                .any(|entry| (*entry).rtekind == RTEKind::RTE_SUBQUERY)
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: casts follow the tag; `context` is the `Collecting` of `of`, of which
    // no reference lives across the calls that lead back here.
    unsafe {
        if (*node).type_ != NodeTag::T_Query {
            return pg_sys::expression_tree_walker(node, Some(visit), context);
        }
        let collecting: *mut Collecting = context.cast();
        let outer = (*collecting).outer;
        let level = Level { query: node.cast(), outer: Some(outer), role: Role::Expression };
        (*collecting).levels.push(level);
        (*collecting).outer = (*collecting).levels.len() - 1;
        let ended = pg_sys::query_tree_walker(node.cast(), Some(visit), context, 0);
        (*collecting).outer = outer;
        ended
    }
}
