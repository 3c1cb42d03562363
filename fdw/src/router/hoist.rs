//! What is computed here, once, before the statement is run at the leaf: every
//! parameter, the values of keys, what an INSERT puts in, and functions whose
//! result could differ over there. Each becomes `$n` of a statement of its own.
#![allow(unsafe_code)]

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use crate::types::is_builtin;

/// The expressions behind `$1`, `$2`, …
#[derive(Default)]
pub struct Hoist {
    /// In order of number.
    pub values: Vec<*mut Node>,
    /// Nodes of the query that are taken whole.
    wanted: Vec<*mut Node>,
    /// Number of each of those that has been met.
    met: Vec<(*mut Node, usize)>,
    /// Inside of something that may not evaluate its parts.
    conditional: u32,
}

impl Hoist {
    /// Has a node of the query computed here.
    pub fn want(&mut self, node: *mut Node) {
        if !node.is_null() && !self.wanted.contains(&node) {
            self.wanted.push(node);
        }
    }

    /// A copy of the query, with those in it, with its parameters in place.
    ///
    /// # Safety
    /// `query` is valid and analysed.
    pub unsafe fn rewrite(&mut self, query: *mut pg_sys::Query) -> *mut pg_sys::Query {
        // SAFETY: the mutator gets `self` back as its context and copies what it
        // changes; the C prototype leaves the mutator's arguments open.
        unsafe {
            pg_sys::query_tree_mutator(
                query,
                Some(open(mutate)),
                (self as *mut Hoist).cast(),
                pg_sys::QTW_IGNORE_JOINALIASES as i32,
            )
        }
    }

    /// The index in `values` of a wanted node, once the query was rewritten.
    pub fn index_or_add(&mut self, node: *mut Node) -> usize {
        let met = self.met.iter().find(|(met, _)| *met == node).map(|(_, index)| *index);
        met.unwrap_or_else(|| self.add(node))
    }

    /// Has a value computed that the statement does not mention; its index.
    pub fn add(&mut self, node: *mut Node) -> usize {
        self.values.push(node);
        self.values.len() - 1
    }

    unsafe fn take(&mut self, node: *mut Node) -> *mut Node {
        // SAFETY: a valid expression; guarded; a zeroed node of the right size and tag.
        unsafe {
            let index = self.position(node);
            let parameter: *mut pg_sys::Param = pg_sys::palloc0(size_of::<pg_sys::Param>()).cast();
            (*parameter).xpr.type_ = NodeTag::T_Param;
            (*parameter).paramkind = pg_sys::ParamKind::PARAM_EXTERN;
            (*parameter).paramid = index as i32 + 1;
            (*parameter).paramtype = pg_sys::exprType(node);
            (*parameter).paramtypmod = pg_sys::exprTypmod(node);
            (*parameter).paramcollid = pg_sys::exprCollation(node);
            (*parameter).location = -1;
            parameter.cast()
        }
    }

    /// One number for all mentions of a parameter; a call is a value of its own
    /// each time it stands there.
    unsafe fn position(&mut self, node: *mut Node) -> usize {
        // SAFETY: valid expressions; guarded.
        let known = unsafe {
            ((*node).type_ == NodeTag::T_Param)
                .then(|| self.values.iter().position(|v| pg_sys::equal((*v).cast(), node.cast())))
                .flatten()
        };
        known.unwrap_or_else(|| {
            // SAFETY: as above.
            self.values.push(unsafe { pg_sys::copyObjectImpl(node.cast()).cast() });
            self.values.len() - 1
        })
    }
}

/// What PostgreSQL calls for each node of a tree.
pub type Mutator = unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> *mut Node;

/// A mutator as PostgreSQL's prototypes want it.
pub fn open(mutator: Mutator) -> unsafe extern "C-unwind" fn() -> *mut Node {
    // SAFETY: PostgreSQL calls it with the two arguments that it has.
    unsafe { std::mem::transmute(mutator) }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn mutate(node: *mut Node, context: *mut c_void) -> *mut Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: casts follow the tag; `context` is the Hoist of `rewrite`, of which
    // no reference lives across the calls that lead back here.
    unsafe {
        let hoist: *mut Hoist = context.cast();
        if (*hoist).wanted.contains(&node) {
            let parameter = (*hoist).take(node);
            let index = (*parameter.cast::<pg_sys::Param>()).paramid as usize - 1;
            (*hoist).met.push((node, index));
            return parameter;
        }
        match (*node).type_ {
            // What a subquery returns for the row at hand.
            NodeTag::T_Param
                if (*node.cast::<pg_sys::Param>()).paramkind != pg_sys::ParamKind::PARAM_EXTERN =>
            {
                return pg_sys::copyObjectImpl(node.cast()).cast();
            }
            NodeTag::T_Param => return (*hoist).take(node),
            NodeTag::T_Query => {
                let flags = pg_sys::QTW_IGNORE_JOINALIASES as i32;
                let conditional = std::mem::take(&mut (*hoist).conditional);
                let copy =
                    pg_sys::query_tree_mutator(node.cast(), Some(open(mutate)), context, flags);
                (*hoist).conditional = conditional;
                return copy.cast();
            }
            // These evaluate only some of their parts.
            NodeTag::T_CaseExpr | NodeTag::T_CoalesceExpr => {
                (*hoist).conditional += 1;
                let copy = pg_sys::expression_tree_mutator(node, Some(open(mutate)), context);
                (*hoist).conditional -= 1;
                return copy;
            }
            NodeTag::T_FuncExpr
            | NodeTag::T_OpExpr
            | NodeTag::T_SQLValueFunction
            | NodeTag::T_CoerceViaIO
            | NodeTag::T_ArrayCoerceExpr
                if (*hoist).conditional == 0
                    && pg_sys::contain_mutable_functions(node)
                    && !pg_sys::contain_volatile_functions(node)
                    && !depends_on_rows(node)
                    && !calls_users_function(node) =>
            {
                return (*hoist).take(node);
            }
            _ => {}
        }
        pg_sys::expression_tree_mutator(node, Some(open(mutate)), context)
    }
}

/// Whether an expression calls a function that a user made: one that may fail, or
/// be noticed, although no row asks for its value.
unsafe fn calls_users_function(node: *mut Node) -> bool {
    // SAFETY: a valid expression; the walker needs no context.
    unsafe { visit_calls(node, std::ptr::null_mut()) }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn visit_calls(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: an expression node; guarded.
    unsafe {
        pg_sys::check_functions_in_node(node, Some(is_users_function), context)
            || pg_sys::expression_tree_walker(node, Some(visit_calls), context)
    }
}

unsafe extern "C-unwind" fn is_users_function(
    function: pg_sys::Oid,
    _context: *mut c_void,
) -> bool {
    !is_builtin(function)
}

/// Whether an expression can only be computed where the rows are.
///
/// # Safety
/// `node` is a valid expression of an analysed query.
pub unsafe fn depends_on_rows(node: *mut Node) -> bool {
    // SAFETY: per the contract; the walker needs no context.
    unsafe { visit(node, std::ptr::null_mut()) }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: casts follow the tag.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Const => false,
            NodeTag::T_Param => {
                (*node.cast::<pg_sys::Param>()).paramkind != pg_sys::ParamKind::PARAM_EXTERN
            }
            NodeTag::T_Var
            | NodeTag::T_Aggref
            | NodeTag::T_GroupingFunc
            | NodeTag::T_WindowFunc
            | NodeTag::T_SubLink
            | NodeTag::T_CurrentOfExpr
            | NodeTag::T_SetToDefault
            | NodeTag::T_CaseTestExpr
            | NodeTag::T_Query => true,
            NodeTag::T_FuncExpr if (*node.cast::<pg_sys::FuncExpr>()).funcretset => true,
            NodeTag::T_OpExpr if (*node.cast::<pg_sys::OpExpr>()).opretset => true,
            // A CASE's own test is computed with it.
            NodeTag::T_CaseExpr if !(*node.cast::<pg_sys::CaseExpr>()).arg.is_null() => true,
            _ => pg_sys::expression_tree_walker(node, Some(visit), context),
        }
    }
}
