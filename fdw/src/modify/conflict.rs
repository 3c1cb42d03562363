//! INSERT with ON CONFLICT over partitions of which some are elsewhere.
//!
//! PostgreSQL looks, for each partition that a row is routed to, for the indexes
//! that stand for the parent's arbiters, and gives up if they are not there; a
//! foreign leaf has no indexes. The owner does the arbitration. So while the
//! partition is set up the parent's list is away, and comes back before the next
//! row is asked for (`ARBITERS_AWAY`): a local partition that is set up later
//! must find it.
//!
//! Rows of one leaf may go in several requests, which are several commands over
//! there. That the user's statement changes no row twice PostgreSQL notices
//! within a command only; `shardman.is_first_change` notices it between them, by
//! the number of the command with which the statement began.
#![allow(unsafe_code)]

use std::cell::RefCell;

use pgrx::pg_sys;

use crate::backend::cells;
use crate::deparse::{OnConflict, Parameters, conflict_clause};
use crate::error::{Error, Refusal, SqlState};
use crate::placement::Placement;
use crate::session;
use crate::shippable::NotShippable;
use crate::types::{EncodingGuard, Format, ParameterWriter, TransmissionModes};

/// A clause and the values of its parameters.
#[derive(Default)]
pub struct Conflict {
    /// In the INSERT.
    pub on: OnConflict,
    /// Types and formats of the parameters.
    pub parameters: Vec<(u32, Format)>,
    /// Their values in wire form.
    pub wire: Vec<u8>,
}

/// An arbiter list that is away.
struct Away {
    /// The node that rows come from, and its function.
    source: *mut pg_sys::PlanState,
    function: pg_sys::ExecProcNodeMtd,
    root: *mut pg_sys::ResultRelInfo,
    list: *mut pg_sys::List,
}

thread_local! {
    /// Entries that an error left behind are void: `source` is looked for only
    /// after it was entered anew.
    static ARBITERS_AWAY: RefCell<Vec<Away>> = const { RefCell::new(Vec::new()) };
    /// With which command a statement began on a node.
    static BEGINNINGS: RefCell<Vec<(*mut pg_sys::EState, Placement, i32)>> =
        const { RefCell::new(Vec::new()) };
}

/// The clause for a leaf of `root`; puts the parent's arbiters away.
/// `has_one_row`: the statement writes a single row.
///
/// # Safety
/// The executor's pointers, from BeginForeignInsert; the plan has a conflict
/// action.
pub unsafe fn begin(
    node: *mut pg_sys::ModifyTableState,
    info: *mut pg_sys::ResultRelInfo,
    root: *mut pg_sys::ResultRelInfo,
    there: Placement,
    has_one_row: bool,
) -> Result<Conflict, Error> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let plan: *mut pg_sys::ModifyTable = (*node).ps.plan.cast();
        let updates = (*plan).onConflictAction == pg_sys::OnConflictAction::ONCONFLICT_UPDATE;
        let is_guarded = updates && !has_one_row;
        if updates {
            refuse_row_security((*info).ri_WithCheckOptions)?;
        }
        let target = (*(*node).resultRelInfo).ri_RangeTableIndex as i32;
        let mut parameters = Parameters::new();
        let relation = (*root).ri_RelationDesc;
        let on = conflict_clause(plan, relation, target, there, is_guarded, &mut parameters)
            .map_err(not_shippable)?;
        let mut conflict = Conflict { on, ..Conflict::default() };
        conflict.evaluate(node, parameters.into_list());
        if is_guarded {
            let beginning = beginning((*node).ps.state, there)?;
            conflict.parameters.push((pg_sys::INT4OID.to_u32(), Format::Binary));
            conflict.wire.extend(4i32.to_be_bytes());
            conflict.wire.extend(beginning.to_be_bytes());
        }
        put_arbiters_away(node, root);
        Ok(conflict)
    }
}

impl Conflict {
    /// `ON CONFLICT DO NOTHING` without a target, or nothing.
    pub fn nothing(is_wanted: bool) -> Conflict {
        Conflict { on: OnConflict::nothing(is_wanted), ..Conflict::default() }
    }

    /// SAFETY: expressions of the node's plan without columns.
    unsafe fn evaluate(&mut self, node: *mut pg_sys::ModifyTableState, list: *mut pg_sys::List) {
        // SAFETY: the caller's; the evaluation is guarded like any call of the
        // server's functions.
        unsafe {
            for expression in cells::<pg_sys::Expr>(list) {
                let state = pg_sys::ExecInitExpr(expression, &raw mut (*node).ps);
                let context = (*node).ps.ps_ExprContext;
                let mut is_null = false;
                let value = pg_sys::ffi::pg_guard_ffi_boundary(|| {
                    let evaluate = (*state).evalfunc;
                    evaluate.map(|evaluate| evaluate(state, context, &raw mut is_null))
                });
                let type_oid = pg_sys::exprType(expression.cast());
                let home = pg_sys::CurrentMemoryContext;
                let mut writer = ParameterWriter::new(type_oid, home);
                let modes =
                    (writer.format() == Format::Text).then(|| TransmissionModes::enter(None));
                {
                    let _encoding = EncodingGuard::enter();
                    let value = value.unwrap_or(pg_sys::Datum::from(0));
                    writer.write(value, is_null, &mut self.wire);
                }
                if let Some(modes) = modes {
                    modes.leave();
                }
                self.parameters.push((writer.type_oid(), writer.format()));
            }
        }
    }
}

/// The command with which the statement began on a node, asked once.
fn beginning(estate: *mut pg_sys::EState, there: Placement) -> Result<i32, Error> {
    let known = BEGINNINGS.with_borrow(|all| {
        all.iter().find(|(e, p, _)| *e == estate && *p == there).map(|(_, _, command)| *command)
    });
    if let Some(command) = known {
        return Ok(command);
    }
    let Placement::Node(node) = there else {
        return Err(Refusal::internal("a partition with arbiters is on no node").into());
    };
    let rows = session::for_node(node)?.query("SELECT shardman.current_command()", &[])?;
    let command = rows.into_iter().flatten().flatten().next().and_then(|text| text.parse().ok());
    let Some(command) = command else {
        return Err(Refusal::internal("a node did not say the number of its command").into());
    };
    BEGINNINGS.with_borrow_mut(|all| all.push((estate, there, command)));
    Ok(command)
}

/// The statement of this executor state is over.
pub fn forget(estate: *mut pg_sys::EState) {
    // Also called when memory is given back: it raises nothing.
    let _ = BEGINNINGS.try_with(|all| {
        if let Ok(mut all) = all.try_borrow_mut() {
            all.retain(|(e, _, _)| *e != estate);
        }
    });
}

/// SAFETY: the executor's pointers.
unsafe fn put_arbiters_away(node: *mut pg_sys::ModifyTableState, root: *mut pg_sys::ResultRelInfo) {
    // SAFETY: the caller's: a running INSERT has a source of rows.
    unsafe {
        let list = (*root).ri_onConflictArbiterIndexes;
        if list.is_null() {
            return;
        }
        let source = (*node).ps.lefttree;
        let function = (*source).ExecProcNode;
        (*root).ri_onConflictArbiterIndexes = std::ptr::null_mut();
        (*source).ExecProcNode = Some(bring_arbiters_back);
        ARBITERS_AWAY.with_borrow_mut(|all| {
            all.retain(|away| away.source != source);
            all.push(Away { source, function, root, list });
        });
    }
}

/// In place of the source's own function, once. A plain-old frame.
unsafe extern "C-unwind" fn bring_arbiters_back(
    source: *mut pg_sys::PlanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: installed by `put_arbiters_away`, in the same execution of the
    // same node. No destructor is alive when the source's function runs.
    unsafe {
        let function = restore(source);
        (*source).ExecProcNode = function;
        match function {
            Some(function) => function(source),
            None => std::ptr::null_mut(),
        }
    }
}

/// SAFETY: as above.
unsafe fn restore(source: *mut pg_sys::PlanState) -> pg_sys::ExecProcNodeMtd {
    let away = ARBITERS_AWAY.with_borrow_mut(|all| {
        let at = all.iter().position(|away| away.source == source)?;
        Some(all.swap_remove(at))
    })?;
    // SAFETY: the caller's.
    unsafe { (*away.root).ri_onConflictArbiterIndexes = away.list };
    away.function
}

/// Policies for UPDATE look at the row that is there, on its own node; the
/// coordinator's part of the plan has them.
///
/// SAFETY: a list of WithCheckOption.
unsafe fn refuse_row_security(options: *mut pg_sys::List) -> Result<(), Error> {
    use pg_sys::WCOKind::{WCO_RLS_CONFLICT_CHECK, WCO_RLS_UPDATE_CHECK};
    // SAFETY: the caller's.
    let has = unsafe {
        cells::<pg_sys::WithCheckOption>(options)
            .any(|o| matches!((*o).kind, WCO_RLS_CONFLICT_CHECK | WCO_RLS_UPDATE_CHECK))
    };
    if !has {
        return Ok(());
    }
    Err(Refusal::not_supported(
        "cannot pass ON CONFLICT DO UPDATE of a table with row security to another node",
    )
    .with_detail("The policies would have to look at rows of that node.")
    .with_hint("Use UPDATE and INSERT.")
    .into())
}

fn not_shippable(why: NotShippable) -> Error {
    Refusal::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        "cannot pass an expression of ON CONFLICT DO UPDATE to another node",
    )
    .with_detail(format!(
        "An assignment or the condition cannot be evaluated there: {}.",
        why.reason
    ))
    .with_hint("Compute the value in the inserted rows and use EXCLUDED, or use UPDATE and INSERT.")
    .into()
}
