//! Identity columns: PostgreSQL draws their values by a node of its own, which
//! no function stands for. In statements on managed sequences a call of ours
//! takes its place before they are planned.
#![allow(unsafe_code)]

use std::ffi::c_void;

use pgrx::pg_sys::{Node, NodeTag};
use pgrx::prelude::*;

use super::support::our_nextval;
use crate::catalog::registry;
use crate::report::Report;

/// The collation that a call made here is given: whoever may insert into the
/// table needs no rights on its sequence. A user's call has none, since its
/// argument is of a type without collations.
const IDENTITY: pg_sys::Oid = pg_sys::C_COLLATION_OID;

/// Puts our calls in place of the identity values of managed sequences.
///
/// # Safety
/// `query` is valid and about to be planned; what is returned takes its place.
pub unsafe fn replace_identity_values(
    query: *mut pg_sys::Query,
) -> Result<*mut pg_sys::Query, Report> {
    // SAFETY: the caller's; the walker and the mutator need no context.
    unsafe {
        let inserts = matches!(
            (*query).commandType,
            pg_sys::CmdType::CMD_INSERT | pg_sys::CmdType::CMD_MERGE
        ) || (*query).hasModifyingCTE;
        if !inserts || registry()?.has_no_sequences() || !find(query.cast(), std::ptr::null_mut()) {
            return Ok(query);
        }
        Ok(pg_sys::query_tree_mutator(query, Some(open(mutate)), std::ptr::null_mut(), 0))
    }
}

type Mutator = unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> *mut Node;

fn open(mutator: Mutator) -> unsafe extern "C-unwind" fn() -> *mut Node {
    // SAFETY: PostgreSQL calls it with the two arguments that it has.
    unsafe { std::mem::transmute(mutator) }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn find(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: casts follow the tags.
    unsafe {
        match (*node).type_ {
            NodeTag::T_NextValueExpr => true,
            NodeTag::T_Query => pg_sys::query_tree_walker(node.cast(), Some(find), context, 0),
            _ => pg_sys::expression_tree_walker(node, Some(find), context),
        }
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn mutate(node: *mut Node, context: *mut c_void) -> *mut Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: casts follow the tags; the mutator copies what it changes.
    unsafe {
        match (*node).type_ {
            NodeTag::T_NextValueExpr => {
                let drawn: *mut pg_sys::NextValueExpr = node.cast();
                let call = identity_call((*drawn).seqid, (*drawn).typeId);
                call.unwrap_or(node)
            }
            NodeTag::T_Query => {
                pg_sys::query_tree_mutator(node.cast(), Some(open(mutate)), context, 0).cast()
            }
            _ => pg_sys::expression_tree_mutator(node, Some(open(mutate)), context),
        }
    }
}

/// An expression that draws a value of an identity column's type; `None` if the
/// sequence is not managed.
pub fn identity_call(sequence: pg_sys::Oid, type_oid: pg_sys::Oid) -> Option<*mut Node> {
    let is_managed = registry().ok()?.sequence(sequence).is_some();
    let ours = our_nextval().filter(|_| is_managed)?;
    let cast = match type_oid {
        pg_sys::INT4OID => Some(pg_sys::F_INT4_INT8),
        pg_sys::INT2OID => Some(pg_sys::F_INT2_INT8),
        _ => None,
    };
    // SAFETY: nodes made in the current memory context; guarded.
    unsafe {
        let argument = pg_sys::makeConst(
            pg_sys::REGCLASSOID,
            -1,
            pg_sys::InvalidOid,
            size_of::<pg_sys::Oid>() as i32,
            pg_sys::Datum::from(sequence),
            false,
            true,
        );
        let call = call_of(ours, pg_sys::INT8OID, argument.cast());
        (*call.cast::<pg_sys::FuncExpr>()).inputcollid = IDENTITY;
        Some(match cast {
            Some(cast) => call_of(pg_sys::Oid::from(cast), type_oid, call),
            None => call,
        })
    }
}

unsafe fn call_of(function: pg_sys::Oid, returns: pg_sys::Oid, argument: *mut Node) -> *mut Node {
    // SAFETY: the caller's; guarded.
    unsafe {
        let arguments = crate::lists::list_of([argument]);
        let none = pg_sys::InvalidOid;
        let form = pg_sys::CoercionForm::COERCE_EXPLICIT_CALL;
        pg_sys::makeFuncExpr(function, returns, arguments, none, none, form).cast()
    }
}

/// Whether a call of `shardman.nextval` was made here.
///
/// # Safety
/// `call` is the call that is being answered.
pub unsafe fn is_identity_call(call: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: the caller's.
    unsafe { (*call).fncollation == IDENTITY }
}
