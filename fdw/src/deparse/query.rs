//! `SELECT … FROM relations WHERE … GROUP BY … HAVING … ORDER BY … LIMIT … FOR …`.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::from::{Condition, From};
use super::order::{limit_clause, order_clause};
use super::printer::{Printer, expressions};
use super::{Parameters, RowLock, SortKey};
use crate::backend::cells;
use crate::error::{Error, Refusal};
use crate::placement::Placement;
use crate::scan::Bound;
use crate::shippable::{StateForm, state_form};
use crate::types::TransmissionModes;

/// What to print; expressions over relations of the plan.
pub struct RemoteQuery<'a> {
    /// Where it will run.
    pub placement: Placement,
    /// The relations' range table entries, by ascending index in the expressions.
    pub entries: Vec<(u32, *const pg_sys::RangeTblEntry)>,
    /// What is read.
    pub from: &'a From,
    /// TargetEntries: columns, or grouping expressions, with their sortgroupref,
    /// and Aggrefs.
    pub target_list: *mut pg_sys::List,
    /// The target entries with a sortgroupref are grouped by.
    pub is_grouped: bool,
    /// WHERE, AND between them.
    pub conditions: &'a [Condition],
    /// HAVING, AND between them.
    pub having: *mut pg_sys::List,
    /// The order of the rows.
    pub order: Vec<SortKey>,
    /// LIMIT.
    pub limit: Option<Bound>,
    /// Row locks by range table index; of joins only.
    pub locks: Vec<(u32, RowLock)>,
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
    remote: &RemoteQuery<'_>,
    parameters: &mut Parameters,
) -> Result<Vec<u8>, Error> {
    // Every name comes out qualified.
    let modes = TransmissionModes::enter(Some("pg_catalog"));
    // SAFETY: per the contract; expressions are copied before they are changed.
    let sql = unsafe { printed(remote, parameters) };
    modes.leave();
    sql
}

unsafe fn printed(remote: &RemoteQuery<'_>, parameters: &mut Parameters) -> Result<Vec<u8>, Error> {
    // SAFETY: as in `query_statement`; casts follow the tags.
    unsafe {
        let limit = remote.limit.map(|bound| limit_clause(bound, parameters));
        let mut printer = Printer::new(&remote.entries, remote.placement, parameters);
        if remote.is_grouped && !remote.order.is_empty() {
            // In ORDER BY a bare name means an output column first, and a function
            // or a cast may have given its name, or its argument's, to one.
            printer.qualify_columns();
        }
        let mut columns: Vec<Vec<u8>> = Vec::new();
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for entry in cells::<pg_sys::TargetEntry>(remote.target_list) {
            let expression: *mut Node = (*entry).expr.cast();
            let column = match (*expression).type_ {
                NodeTag::T_Var => printer.variable(expression.cast()),
                NodeTag::T_Aggref => {
                    let copy: *mut Node = pg_sys::copyObjectImpl(expression.cast()).cast();
                    printer.expression(whole(copy.cast())?)
                }
                _ => printer.expression(expression),
            };
            if (*entry).ressortgroupref != 0 && remote.is_grouped {
                let is_column = (*expression).type_ == NodeTag::T_Var;
                keys.push(if is_column || column.starts_with(b"(") {
                    column.clone()
                } else {
                    [b"(", column.as_slice(), b")"].concat()
                });
            }
            columns.push(column);
        }
        let mut sql = b"SELECT".to_vec();
        if !columns.is_empty() {
            sql.push(b' ');
            sql.extend(columns.join(&b", "[..]));
        }
        sql.extend(b" FROM ");
        sql.extend(printer.from(remote.from));
        sql.extend(printer.clause(b" WHERE ", remote.conditions));
        if !keys.is_empty() {
            sql.extend(b" GROUP BY ");
            sql.extend(keys.join(&b", "[..]));
        }
        sql.extend(printer.clause(b" HAVING ", &expressions(remote.having)));
        sql.extend(order_clause(&remote.order, |e| printer.expression(e)));
        sql.extend(limit.unwrap_or_default());
        for (index, lock) in &remote.locks {
            sql.extend(lock.strength_sql());
            sql.extend(b" OF ");
            sql.extend(printer.alias(*index));
            sql.extend(lock.wait_sql());
        }
        Ok(sql)
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
