//! Parameters of remote SQL: each Param of the plan, and each column of the outer
//! side of a nested loop, becomes `$n`, in order of first appearance. So do operands whose values were parameters of the client's
//! statement before the planner put them in: with the values in its text, the
//! statement would be parsed, analysed and prepared anew for each of them.
#![allow(unsafe_code)]

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use crate::types::{Format, is_builtin, wire_format};

/// The plan's expressions behind `$1`, `$2`, …
pub struct Parameters {
    found: *mut pg_sys::List,
    takes_constants: bool,
    /// The relations that the SQL reads; null if expressions have no others.
    read: *mut pg_sys::Bitmapset,
}

impl Parameters {
    /// None yet; constants stay in the text.
    pub fn new() -> Parameters {
        Parameters {
            found: std::ptr::null_mut(),
            takes_constants: false,
            read: std::ptr::null_mut(),
        }
    }

    /// None yet; constants are taken out of the text if the statement came with
    /// values of parameters.
    ///
    /// # Safety
    /// `root` is the planner's.
    pub unsafe fn of_plan(root: *const pg_sys::PlannerInfo) -> Parameters {
        // SAFETY: per the contract.
        let takes_constants = unsafe { !(*(*root).glob).boundParams.is_null() };
        Parameters { takes_constants, ..Parameters::new() }
    }

    /// Has columns of other relations than the one with this range table index
    /// become parameters.
    pub fn of_all_but(self, index: u32) -> Parameters {
        // SAFETY: guarded; allocates in the planner's context.
        let read = unsafe { pg_sys::bms_make_singleton(index as i32) };
        Parameters { read, ..self }
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

    /// As [`Parameters::number`], for an expression that stands alone, as in SET:
    /// it may itself be such a value.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn number_operand(&mut self, expression: *mut Node) -> *mut Node {
        // SAFETY: per the contract.
        unsafe {
            if self.takes(expression) { self.value(expression) } else { self.number(expression) }
        }
    }

    /// Whether the node is a value to be sent. A collation of its own would be
    /// lost, and a type that is not built in may not be known over there.
    unsafe fn takes(&self, node: *mut Node) -> bool {
        // SAFETY: the cast follows the tag; guarded.
        unsafe {
            if !self.takes_constants || (*node).type_ != NodeTag::T_Const {
                return false;
            }
            let constant = node.cast::<pg_sys::Const>();
            let collation = (*constant).constcollid;
            !(*constant).constisnull
                && matches!(collation, pg_sys::InvalidOid | pg_sys::DEFAULT_COLLATION_OID)
                && is_builtin((*constant).consttype)
                && wire_format((*constant).consttype) == Format::Binary
        }
    }

    /// Copies operands with their values taken out.
    unsafe fn operands(&mut self, arguments: *mut pg_sys::List) -> *mut pg_sys::List {
        // SAFETY: a list of valid expressions; guarded.
        unsafe {
            crate::backend::cells::<Node>(arguments).fold(std::ptr::null_mut(), |list, argument| {
                pg_sys::lappend(list, self.number_operand(argument).cast())
            })
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        // SAFETY: NIL or a list of our own.
        unsafe { self.found.as_ref() }.map_or(0, |list| list.length as usize)
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
        // Only operands: elsewhere a constant may be part of the syntax.
        if matches!((*node).type_, NodeTag::T_OpExpr | NodeTag::T_ScalarArrayOpExpr)
            && (*context.cast::<Parameters>()).takes_constants
        {
            let parameters = &mut *context.cast::<Parameters>();
            let copy = pg_sys::copyObjectImpl(node.cast());
            // The two structs differ in front of the arguments.
            let arguments = if (*node).type_ == NodeTag::T_OpExpr {
                &raw mut (*copy.cast::<pg_sys::OpExpr>()).args
            } else {
                &raw mut (*copy.cast::<pg_sys::ScalarArrayOpExpr>()).args
            };
            *arguments = parameters.operands(*arguments);
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
