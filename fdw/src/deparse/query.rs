//! `SELECT … FROM leaves WHERE … GROUP BY … HAVING … ORDER BY …`, built as a `Query` and
//! printed by `pg_get_querydef`.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::leaf_schema::at_owner;
use super::order::{add_order, qualify_columns};
use super::select::{leaf_entry, make};
use super::{Parameters, SortKey};
use crate::backend::{bytes_of, cells};
use crate::error::{Error, Refusal};
use crate::shippable::{StateForm, state_form};
use crate::types::TransmissionModes;

/// What to print; expressions over relations of the plan.
pub struct RemoteQuery {
    /// The relations' range table entries, by ascending index in the expressions.
    pub entries: Vec<(u32, *const pg_sys::RangeTblEntry)>,
    /// TargetEntries: columns, or grouping expressions, with their sortgroupref,
    /// and Aggrefs.
    pub target_list: *mut pg_sys::List,
    /// SortGroupClauses of the grouping expressions.
    pub group_clause: *mut pg_sys::List,
    /// WHERE, AND between them.
    pub conditions: *mut pg_sys::List,
    /// HAVING, AND between them.
    pub having: *mut pg_sys::List,
    /// The order of the rows.
    pub order: Vec<SortKey>,
}

/// The function that a partial aggregate is wrapped into if its state is not its
/// result: `shardman.partial_state`. The receiving node takes the wrapping off
/// again and stops the aggregate before its final function. `None` if the
/// extension is not here.
pub fn state_function() -> Option<pg_sys::Oid> {
    // SAFETY: guarded look-ups; the list and its strings are made here.
    let oid = unsafe {
        if pg_sys::get_namespace_oid(c"shardman".as_ptr(), true) == pg_sys::InvalidOid {
            return None;
        }
        let mut name = null_mut();
        for part in [c"shardman", c"partial_state"] {
            name = pg_sys::lappend(name, pg_sys::makeString(pg_sys::pstrdup(part.as_ptr())).cast());
        }
        let arguments = [pg_sys::ANYOID];
        pg_sys::LookupFuncName(name, 1, arguments.as_ptr(), true)
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// The SQL and, in `parameters`, what its `$n` stand for.
///
/// # Safety
/// The pointers in `remote` are the planner's.
pub unsafe fn query_statement(
    remote: &RemoteQuery,
    parameters: &mut Parameters,
) -> Result<Vec<u8>, Error> {
    // SAFETY: guarded calls on copies of valid nodes.
    unsafe {
        let mut over_there = |expression: *mut Node| {
            let copy = parameters.number(pg_sys::copyObjectImpl(expression.cast()).cast());
            // Ascending, so no new number is taken for an old one.
            for (new, (old, _)) in (1..).zip(&remote.entries) {
                pg_sys::ChangeVarNodes(copy, *old as i32, new, 0);
            }
            copy
        };
        let query: *mut pg_sys::Query = make(NodeTag::T_Query);
        (*query).commandType = pg_sys::CmdType::CMD_SELECT;
        (*query).canSetTag = true;
        let from: *mut pg_sys::FromExpr = make(NodeTag::T_FromExpr);
        for (number, (_, rte)) in (1..).zip(&remote.entries) {
            (*query).rtable = pg_sys::lappend((*query).rtable, leaf_entry(*rte).cast());
            let reference: *mut pg_sys::RangeTblRef = make(NodeTag::T_RangeTblRef);
            (*reference).rtindex = number;
            (*from).fromlist = pg_sys::lappend((*from).fromlist, reference.cast());
        }
        for entry in cells::<pg_sys::TargetEntry>(remote.target_list) {
            let mut expression = over_there((*entry).expr.cast());
            if (*expression).type_ == NodeTag::T_Aggref {
                (*query).hasAggs = true;
                expression = whole(expression.cast())?;
            }
            let number = (*entry).resno;
            let copy = pg_sys::makeTargetEntry(expression.cast(), number, null_mut(), false);
            (*copy).ressortgroupref = (*entry).ressortgroupref;
            (*query).targetList = pg_sys::lappend((*query).targetList, copy.cast());
        }
        let mut and = |list: *mut pg_sys::List| -> *mut Node {
            let mut copies = null_mut();
            for condition in cells::<Node>(list) {
                copies = pg_sys::lappend(copies, over_there(condition).cast());
            }
            if copies.is_null() { null_mut() } else { pg_sys::make_ands_explicit(copies).cast() }
        };
        (*from).quals = and(remote.conditions);
        (*query).jointree = from;
        (*query).havingQual = and(remote.having);
        (*query).groupClause = remote.group_clause;
        if !remote.order.is_empty() {
            add_order(query, &remote.order, over_there);
            qualify_columns(query);
        }

        // Every name comes out qualified.
        let modes = TransmissionModes::enter(Some("pg_catalog"));
        let text = pg_sys::pg_get_querydef(query, false);
        modes.leave();
        Ok(at_owner(&bytes_of(text)))
    }
}

/// A partial aggregate as one that can be printed; others as they are.
unsafe fn whole(aggregate: *mut pg_sys::Aggref) -> Result<*mut Node, Error> {
    use pg_sys::AggSplit::AGGSPLIT_SIMPLE;
    // SAFETY: a copy that this module owns; guarded.
    unsafe {
        if (*aggregate).aggsplit == AGGSPLIT_SIMPLE {
            return Ok(aggregate.cast());
        }
        let form = state_form(aggregate).map_err(|e| Refusal::internal(e.reason))?;
        (*aggregate).aggsplit = AGGSPLIT_SIMPLE;
        if form == StateForm::Result {
            return Ok(aggregate.cast());
        }
        let function = state_function()
            .ok_or_else(|| Refusal::internal("shardman.partial_state() does not exist"))?;
        let call = pg_sys::makeFuncExpr(
            function,
            pg_sys::BYTEAOID,
            pg_sys::lappend(null_mut(), aggregate.cast()),
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        );
        Ok(call.cast())
    }
}
