//! The walk over an expression.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::collation::Collation;
use super::extensions::is_known_there;
use crate::backend::cells;
use crate::placement::Placement;

/// Why an expression stays here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotShippable {
    /// A clause for EXPLAIN and debug output.
    pub reason: &'static str,
}

type Verdict = Result<Collation, NotShippable>;

fn no(reason: &'static str) -> Verdict {
    Err(NotShippable { reason })
}

/// Whether a condition on the relation with range table index `relid` may be
/// evaluated there. `there` is the place: its default
/// collation may be the same, and it may have the same extensions.
///
/// # Safety
/// `expression` is a valid expression of the planner.
pub unsafe fn is_shippable(
    expression: *mut Node,
    relid: u32,
    there: Placement,
) -> Result<(), NotShippable> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let relids = pg_sys::bms_make_singleton(relid as i32);
        Walker::over(relids, there).check(expression)
    }
}

/// The same of a condition in which columns of other relations are parameters.
///
/// # Safety
/// As [`is_shippable`].
pub unsafe fn is_shippable_with_outer(
    expression: *mut Node,
    relid: u32,
    there: Placement,
) -> Result<(), NotShippable> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let relids = pg_sys::bms_make_singleton(relid as i32);
        let walker = Walker { takes_outer_columns: true, ..Walker::over(relids, there) };
        walker.check(expression)
    }
}

/// Whether an expression over grouped rows of the relations `relids`, which may
/// call aggregates, may be computed there.
///
/// # Safety
/// As [`is_shippable`]; `relids` is a valid set.
pub unsafe fn is_shippable_grouped(
    expression: *mut Node,
    relids: *mut pg_sys::Bitmapset,
    there: Placement,
) -> Result<(), NotShippable> {
    // SAFETY: per the contract.
    let walker = Walker { takes_aggregates: true, ..Walker::over(relids, there) };
    // SAFETY: per the contract.
    unsafe { walker.check(expression) }
}

/// The same in a query of a statement that is sent whole: columns of the queries
/// around it are there too, and subqueries are looked at by themselves.
///
/// # Safety
/// As [`is_shippable_grouped`].
pub unsafe fn is_shippable_query(
    expression: *mut Node,
    relids: *mut pg_sys::Bitmapset,
    there: Placement,
) -> Result<(), NotShippable> {
    let walker =
        Walker { takes_aggregates: true, takes_queries: true, ..Walker::over(relids, there) };
    // SAFETY: per the contract.
    unsafe { walker.check(expression) }
}

/// Whether rows of the relations `relids` (or groups, if it `takes_aggregates`) may
/// be sorted or grouped there by an expression: the comparison takes its collation
/// from it.
///
/// # Safety
/// As [`is_shippable_grouped`].
pub unsafe fn is_comparable(
    expression: *mut Node,
    relids: *mut pg_sys::Bitmapset,
    there: Placement,
    takes_aggregates: bool,
) -> Result<(), NotShippable> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let walker = Walker { takes_aggregates, ..Walker::over(relids, there) };
        walker.check(expression)?;
        walker.input(walker.walk(expression, None)?, pg_sys::exprCollation(expression))
    }
}

struct Walker {
    relids: *mut pg_sys::Bitmapset,
    there: Placement,
    takes_aggregates: bool,
    /// Columns of other relations will be parameters.
    takes_outer_columns: bool,
    /// Its subqueries are sent too, and the queries around it.
    takes_queries: bool,
}

impl Walker {
    /// Of expressions over columns of these relations and nothing else.
    fn over(relids: *mut pg_sys::Bitmapset, there: Placement) -> Walker {
        Walker {
            relids,
            there,
            takes_aggregates: false,
            takes_outer_columns: false,
            takes_queries: false,
        }
    }

    /// # Safety
    /// `expression` is a valid expression of the planner.
    unsafe fn check(&self, expression: *mut Node) -> Result<(), NotShippable> {
        // SAFETY: per the contract; guarded.
        unsafe {
            self.walk(expression, None)?;
            if pg_sys::contain_mutable_functions(expression) {
                return Err(NotShippable {
                    reason: "it contains a function that is not immutable",
                });
            }
        }
        Ok(())
    }

    /// `case_argument` is the collation of the enclosing CASE's argument.
    ///
    /// # Safety
    /// `node` is null or a valid expression node; casts follow its tag.
    unsafe fn walk(&self, node: *mut Node, case_argument: Option<Collation>) -> Verdict {
        if node.is_null() {
            return Ok(Collation::None);
        }
        // SAFETY: per the contract; each cast is the struct that the tag names.
        unsafe {
            pg_sys::check_stack_depth();
            let collation = match (*node).type_ {
                NodeTag::T_Var => self.variable(node.cast())?,
                NodeTag::T_Const => {
                    Collation::of_outside((*node.cast::<pg_sys::Const>()).constcollid)
                }
                NodeTag::T_Param => self.parameter(node.cast())?,
                NodeTag::T_FuncExpr => {
                    let f = node.cast::<pg_sys::FuncExpr>();
                    self.function((*f).funcid)?;
                    let arguments = self.all((*f).args, case_argument)?;
                    self.input(arguments, (*f).inputcollid)?;
                    arguments.of_result((*f).funccollid)
                }
                NodeTag::T_OpExpr | NodeTag::T_DistinctExpr | NodeTag::T_NullIfExpr => {
                    let o = node.cast::<pg_sys::OpExpr>();
                    self.operator((*o).opno)?;
                    let arguments = self.all((*o).args, case_argument)?;
                    self.input(arguments, (*o).inputcollid)?;
                    arguments.of_result((*o).opcollid)
                }
                NodeTag::T_ScalarArrayOpExpr => {
                    let o = node.cast::<pg_sys::ScalarArrayOpExpr>();
                    self.operator((*o).opno)?;
                    let arguments = self.all((*o).args, case_argument)?;
                    self.input(arguments, (*o).inputcollid)?;
                    Collation::None
                }
                NodeTag::T_RelabelType => {
                    // Printed without its collation: it must not introduce one.
                    let r = node.cast::<pg_sys::RelabelType>();
                    self.walk((*r).arg.cast(), case_argument)?.of_result((*r).resultcollid)
                }
                NodeTag::T_CoerceViaIO => {
                    let c = node.cast::<pg_sys::CoerceViaIO>();
                    self.walk((*c).arg.cast(), case_argument)?.of_result((*c).resultcollid)
                }
                NodeTag::T_BoolExpr => {
                    self.all((*node.cast::<pg_sys::BoolExpr>()).args, case_argument)?;
                    Collation::None
                }
                NodeTag::T_NullTest => {
                    let t = node.cast::<pg_sys::NullTest>();
                    if (*t).argisrow {
                        return no("it tests a row for null");
                    }
                    self.walk((*t).arg.cast(), case_argument)?;
                    Collation::None
                }
                NodeTag::T_BooleanTest => {
                    self.walk((*node.cast::<pg_sys::BooleanTest>()).arg.cast(), case_argument)?;
                    Collation::None
                }
                NodeTag::T_Aggref if self.takes_aggregates => self.aggregate(node.cast())?,
                NodeTag::T_WindowFunc if self.takes_queries => {
                    let w = node.cast::<pg_sys::WindowFunc>();
                    self.function((*w).winfnoid)?;
                    let arguments = self.all((*w).args, None)?;
                    self.walk((*w).aggfilter.cast(), None)?;
                    self.input(arguments, (*w).inputcollid)?;
                    arguments.of_result((*w).wincollid)
                }
                NodeTag::T_GroupingFunc if self.takes_queries => {
                    self.all((*node.cast::<pg_sys::GroupingFunc>()).args, None)?;
                    Collation::None
                }
                NodeTag::T_CaseExpr => self.case(node.cast(), case_argument)?,
                NodeTag::T_CaseTestExpr => {
                    let c = node.cast::<pg_sys::CaseTestExpr>();
                    match case_argument {
                        None => return no("it contains an inlined CASE"),
                        Some(argument) => argument.of_result((*c).collation),
                    }
                }
                NodeTag::T_ArrayExpr => {
                    let a = node.cast::<pg_sys::ArrayExpr>();
                    self.all((*a).elements, case_argument)?.of_result((*a).array_collid)
                }
                NodeTag::T_CoalesceExpr => {
                    let c = node.cast::<pg_sys::CoalesceExpr>();
                    self.all((*c).args, case_argument)?.of_result((*c).coalescecollid)
                }
                NodeTag::T_MinMaxExpr => {
                    let m = node.cast::<pg_sys::MinMaxExpr>();
                    let arguments = self.all((*m).args, case_argument)?;
                    self.input(arguments, (*m).inputcollid)?;
                    arguments.of_result((*m).minmaxcollid)
                }
                NodeTag::T_SubscriptingRef => {
                    let s = node.cast::<pg_sys::SubscriptingRef>();
                    if !(*s).refassgnexpr.is_null() {
                        return no("it assigns to an array element");
                    }
                    self.all((*s).refupperindexpr, case_argument)?;
                    self.all((*s).reflowerindexpr, case_argument)?;
                    self.walk((*s).refexpr.cast(), case_argument)?.of_result((*s).refcollid)
                }
                NodeTag::T_SubLink if self.takes_queries => {
                    let link = node.cast::<pg_sys::SubLink>();
                    if (*link).subLinkType == pg_sys::SubLinkType::MULTIEXPR_SUBLINK {
                        return no("it assigns several columns from a subquery");
                    }
                    self.walk((*link).testexpr, None)?;
                    Collation::of_column(pg_sys::exprCollation(node))
                }
                _ => return no("it contains an expression of a kind that is not shipped"),
            };
            if !is_known_there(pg_sys::TypeRelationId, pg_sys::exprType(node), self.there) {
                return no("it contains a value of a type that is not built in");
            }
            Ok(collation)
        }
    }

    unsafe fn all(&self, list: *mut pg_sys::List, case_argument: Option<Collation>) -> Verdict {
        let mut collation = Collation::None;
        // SAFETY: a list of expressions, by the callers' casts.
        unsafe {
            for node in cells::<Node>(list) {
                collation = collation.and(self.walk(node, case_argument)?);
            }
        }
        Ok(collation)
    }

    unsafe fn variable(&self, variable: *const pg_sys::Var) -> Verdict {
        // SAFETY: a valid Var.
        let v = unsafe { &*variable };
        // SAFETY: guarded; a valid set.
        let is_ours = v.varno > 0 && unsafe { pg_sys::bms_is_member(v.varno, self.relids) };
        if !is_ours && self.takes_outer_columns && v.varno > 0 && v.varlevelsup == 0 {
            // A whole row has no place on the wire as a parameter.
            return match v.varattno {
                0 => no("it refers to a whole row of another relation"),
                _ => Ok(Collation::of_outside(v.varcollid)),
            };
        }
        let is_around = self.takes_queries && v.varlevelsup > 0 && v.varattno > 0;
        if is_around {
            return Ok(Collation::of_column(v.varcollid));
        }
        if !is_ours || v.varlevelsup != 0 {
            return no("it refers to another relation");
        }
        // What a row over there has is said by a statement that runs there as a whole.
        let is_known = match i32::from(v.varattno) {
            pg_sys::SelfItemPointerAttributeNumber => true,
            pg_sys::TableOidAttributeNumber => false,
            number => number >= 0 || self.takes_queries,
        };
        if !is_known {
            return no("it refers to a system column, which differs there");
        }
        Ok(Collation::of_column(v.varcollid))
    }

    /// # Safety
    /// `aggregate` is a valid Aggref.
    unsafe fn aggregate(&self, aggregate: *const pg_sys::Aggref) -> Verdict {
        // SAFETY: per the contract; its lists hold what its definition says.
        unsafe {
            let a = &*aggregate;
            if a.agglevelsup != 0 {
                return no("it contains an aggregate of an outer query");
            }
            self.function(a.aggfnoid)?;
            let mut arguments = self.all(a.aggdirectargs, None)?;
            for entry in cells::<pg_sys::TargetEntry>(a.args) {
                arguments = arguments.and(self.walk((*entry).expr.cast(), None)?);
            }
            for clause in cells::<pg_sys::SortGroupClause>(a.aggorder).chain(cells(a.aggdistinct)) {
                let key = pg_sys::get_sortgroupref_tle((*clause).tleSortGroupRef, a.args);
                let key = (*key).expr.cast();
                self.input(self.walk(key, None)?, pg_sys::exprCollation(key))?;
                for operator in [(*clause).sortop, (*clause).eqop] {
                    if operator != pg_sys::InvalidOid {
                        self.operator(operator)?;
                    }
                }
            }
            self.walk(a.aggfilter.cast(), None)?;
            self.input(arguments, a.inputcollid)?;
            Ok(arguments.of_result(a.aggcollid))
        }
    }

    unsafe fn parameter(&self, parameter: *const pg_sys::Param) -> Verdict {
        // SAFETY: a valid Param.
        let p = unsafe { &*parameter };
        if self.takes_queries && p.paramkind == pg_sys::ParamKind::PARAM_SUBLINK {
            return Ok(Collation::of_column(p.paramcollid));
        }
        if !matches!(p.paramkind, pg_sys::ParamKind::PARAM_EXTERN | pg_sys::ParamKind::PARAM_EXEC) {
            return no("it contains a parameter that another part of the plan computes");
        }
        Ok(Collation::of_outside(p.paramcollid))
    }

    unsafe fn case(&self, case: *const pg_sys::CaseExpr, outer: Option<Collation>) -> Verdict {
        // SAFETY: a valid CaseExpr; its list holds CaseWhens.
        unsafe {
            let argument = if (*case).arg.is_null() {
                None
            } else {
                Some(self.walk((*case).arg.cast(), outer)?)
            };
            let mut results = Collation::None;
            for when in cells::<pg_sys::CaseWhen>((*case).args) {
                if argument.is_some() && !compares_the_argument((*when).expr.cast()) {
                    return no("it contains a CASE that the planner has rewritten");
                }
                self.walk((*when).expr.cast(), argument)?;
                results = results.and(self.walk((*when).result.cast(), outer)?);
            }
            results = results.and(self.walk((*case).defresult.cast(), outer)?);
            Ok(results.of_result((*case).casecollid))
        }
    }

    fn function(&self, oid: pg_sys::Oid) -> Result<(), NotShippable> {
        if is_known_there(pg_sys::ProcedureRelationId, oid, self.there) {
            Ok(())
        } else {
            Err(NotShippable { reason: "it calls a function that is not built in" })
        }
    }

    fn operator(&self, oid: pg_sys::Oid) -> Result<(), NotShippable> {
        if is_known_there(pg_sys::OperatorRelationId, oid, self.there) {
            Ok(())
        } else {
            Err(NotShippable { reason: "it uses an operator that is not built in" })
        }
    }

    fn input(&self, arguments: Collation, input: pg_sys::Oid) -> Result<(), NotShippable> {
        if arguments.permits(input, matches!(self.there, Placement::Node(_))) {
            Ok(())
        } else {
            Err(NotShippable { reason: "its collation does not come from a foreign column" })
        }
    }
}

/// `CaseTestExpr = something`, which is what the printer can undo.
unsafe fn compares_the_argument(when: *mut Node) -> bool {
    // SAFETY: a valid expression node.
    unsafe {
        if (*when).type_ != NodeTag::T_OpExpr {
            return false;
        }
        let arguments = (*when.cast::<pg_sys::OpExpr>()).args;
        let mut arguments = cells::<Node>(arguments);
        let (Some(first), Some(_), None) = (arguments.next(), arguments.next(), arguments.next())
        else {
            return false;
        };
        (*pg_sys::strip_implicit_coercions(first)).type_ == NodeTag::T_CaseTestExpr
    }
}
