//! Parameters of remote SQL: each Param of the plan, and each column of the outer
//! side of a nested loop, becomes `$n`, in order of first appearance.
#![allow(unsafe_code)]

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

/// The plan's expressions behind `$1`, `$2`, …
pub struct Parameters {
    found: *mut pg_sys::List,
    /// The relations that the SQL reads; null if expressions have no others.
    read: *mut pg_sys::Bitmapset,
}

impl Parameters {
    /// None yet.
    pub fn new() -> Parameters {
        Parameters { found: std::ptr::null_mut(), read: std::ptr::null_mut() }
    }

    /// None yet; columns of other relations than the one with this range table
    /// index become parameters.
    pub fn of_all_but(index: u32) -> Parameters {
        // SAFETY: guarded; allocates in the planner's context.
        let read = unsafe { pg_sys::bms_make_singleton(index as i32) };
        Parameters { found: std::ptr::null_mut(), read }
    }

    /// A copy of an expression with its Params numbered for the remote side.
    ///
    /// # Safety
    /// `expression` is a valid expression tree.
    pub unsafe fn number(&mut self, expression: *mut Node) -> *mut Node {
        // SAFETY: the mutator gets `self` back as its context and copies what
        // it changes.
        unsafe { mutate(expression, (self as *mut Parameters).cast()) }
    }

    /// The `$n` that stands for the value of a whole expression.
    ///
    /// # Safety
    /// `expression` is a valid expression tree without columns.
    pub unsafe fn value(&mut self, expression: *mut Node) -> *mut Node {
        // SAFETY: guarded calls; a zeroed node of the right size and tag.
        unsafe {
            let number = self.position(expression);
            let parameter: *mut pg_sys::Param = pg_sys::palloc0(size_of::<pg_sys::Param>()).cast();
            (*parameter).xpr.type_ = NodeTag::T_Param;
            (*parameter).paramkind = pg_sys::ParamKind::PARAM_EXTERN;
            (*parameter).paramid = number;
            (*parameter).paramtype = pg_sys::exprType(expression);
            (*parameter).paramtypmod = pg_sys::exprTypmod(expression);
            (*parameter).paramcollid = pg_sys::exprCollation(expression);
            (*parameter).location = -1;
            parameter.cast()
        }
    }

    /// The expressions, for `fdw_exprs`.
    pub fn into_list(self) -> *mut pg_sys::List {
        self.found
    }

    unsafe fn position(&mut self, parameter: *mut Node) -> i32 {
        // SAFETY: guarded calls on valid nodes.
        unsafe {
            for (i, known) in crate::backend::cells::<Node>(self.found).enumerate() {
                if pg_sys::equal(known.cast(), parameter.cast()) {
                    return i as i32 + 1;
                }
            }
            self.found = pg_sys::lappend(self.found, pg_sys::copyObjectImpl(parameter.cast()));
            (*self.found).length
        }
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn mutate(node: *mut Node, context: *mut c_void) -> *mut Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: casts follow the tag; `context` is the Parameters of `number`.
    unsafe {
        if (*node).type_ == NodeTag::T_Param {
            let parameters = &mut *context.cast::<Parameters>();
            let number = parameters.position(node.cast());
            let copy: *mut pg_sys::Param = pg_sys::copyObjectImpl(node.cast()).cast();
            (*copy).paramkind = pg_sys::ParamKind::PARAM_EXTERN;
            (*copy).paramid = number;
            return copy.cast();
        }
        if (*node).type_ == NodeTag::T_Var {
            let parameters = &mut *context.cast::<Parameters>();
            let number = (*node.cast::<pg_sys::Var>()).varno;
            if !parameters.read.is_null() && !pg_sys::bms_is_member(number, parameters.read) {
                return parameters.value(node);
            }
        }
        // The C prototype leaves the mutator's arguments open.
        type Open = unsafe extern "C-unwind" fn() -> *mut Node;
        let mutator: unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> *mut Node = mutate;
        let mutator: Open = std::mem::transmute(mutator);
        pg_sys::expression_tree_mutator(node, Some(mutator), context)
    }
}
