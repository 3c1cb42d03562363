//! Which utility statements concern us.
#![allow(unsafe_code)]

use cluster::sharding::{LEAF_SCHEMA, NodeCommand};
use cluster::txn::GateRequest;
use pgrx::prelude::*;

use super::step::{Finish, Received, Step};
use super::{
    OwnWork, carry, concurrently, create_index, create_table, deferral, distribute, drop, fences,
    foreign_keys, maintenance, receive, restoring, sequences, storage, tablespace, truncate,
};
use crate::lasting_user;
use crate::lists::{elements, text};
use crate::node_session::{self, is_node_session};
use crate::recovery;
use crate::replicated;
use crate::report::Report;
use crate::{gate, row_log, schema_change, sequence, settings, snapshot};

/// Decides how a utility statement runs.
///
/// # Safety
/// `pstmt` is a valid utility statement of `query`, NUL-terminated.
pub unsafe fn before_utility(
    pstmt: *mut pg_sys::PlannedStmt,
    query: *const std::ffi::c_char,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    // SAFETY: reads backend state.
    let aborted = unsafe { pg_sys::IsAbortedTransactionBlockState() };
    // In an aborted block only ROLLBACK and the like get here, and catalogues
    // cannot be read.
    // SAFETY: the caller's.
    if !aborted
        && OwnWork::is_going_on()
        && unsafe { foreign_keys::are_left_out((*pstmt).utilityStmt) }
    {
        // SAFETY: the tag was looked at; the copy is ours.
        return unsafe {
            let copy: *mut pg_sys::PlannedStmt = pg_sys::copyObjectImpl(pstmt.cast()).cast();
            foreign_keys::take_from_alter((*copy).utilityStmt.cast())?;
            Ok(Step::Run { statement: copy, finish: None })
        };
    }
    if aborted || OwnWork::is_going_on() || !crate::in_cluster_database() {
        return Ok(Step::Pass);
    }
    // SAFETY: the caller's.
    unsafe { schema_change::check_utility((*pstmt).utilityStmt) }?;
    // SAFETY: the caller's.
    unsafe { put_user_in_force((*pstmt).utilityStmt) }?;
    // SAFETY: the caller's.
    let restored = if settings::restoring() { unsafe { restoring::before(pstmt) }? } else { None };
    let step = match restored {
        Some(step) => {
            schema_change::note_other_work();
            step
        }
        // SAFETY: the caller's.
        None => unsafe { step_for(pstmt, query, context) }?,
    };
    if matches!(step, Step::Pass | Step::Receive(_)) {
        // SAFETY: the caller's.
        unsafe { schema_change::note_utility((*pstmt).utilityStmt, context) };
    }
    Ok(step)
}

/// SAFETY: as for `before_utility`.
unsafe fn step_for(
    pstmt: *mut pg_sys::PlannedStmt,
    query: *const std::ffi::c_char,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    use pg_sys::NodeTag;
    // SAFETY: the caller's; each arm casts to the struct that the tag names.
    unsafe {
        let statement = (*pstmt).utilityStmt;
        let at_top = context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL;
        match (*statement).type_ {
            NodeTag::T_VariableSetStmt => set(statement.cast(), at_top),
            NodeTag::T_PrepareStmt => prepare(statement.cast()).map(|()| Step::Pass),
            NodeTag::T_TransactionStmt => {
                if at_top && is_node_session() {
                    end_of_transaction(statement.cast())?;
                }
                Ok(begin_of_transaction(statement.cast(), at_top))
            }
            NodeTag::T_CreateStmt => {
                or_carry(create_table::before(pstmt, statement.cast())?, pstmt, query, context)
            }
            NodeTag::T_AlterTableStmt => {
                or_carry(storage::before(statement.cast())?, pstmt, query, context)
            }
            NodeTag::T_IndexStmt => {
                or_carry(create_index::before(statement.cast(), context)?, pstmt, query, context)
            }
            NodeTag::T_DropStmt => match concurrently::before_drop(statement.cast(), context)? {
                Step::Pass => or_carry(drop::before(statement.cast())?, pstmt, query, context),
                taken => Ok(taken),
            },
            NodeTag::T_ReindexStmt => {
                match concurrently::before_reindex(statement.cast(), context)? {
                    Step::Pass => maintenance::before(pstmt, at_top),
                    taken => Ok(taken),
                }
            }
            NodeTag::T_CreateTableSpaceStmt => or_carry(
                tablespace::before_create(statement.cast(), context)?,
                pstmt,
                query,
                context,
            ),
            NodeTag::T_DropTableSpaceStmt => {
                or_carry(tablespace::before_drop(statement.cast(), context)?, pstmt, query, context)
            }
            NodeTag::T_CopyStmt if at_top && is_rows_for_leaf(statement.cast()) => {
                Ok(Step::Receive(Received::Copy))
            }
            NodeTag::T_TruncateStmt if at_top && is_for_leaves(statement.cast()) => {
                Ok(Step::Receive(Received::Truncate))
            }
            NodeTag::T_CopyStmt => {
                fences::check(statement)?;
                row_log::before_copy(statement.cast())?;
                Ok(match sequence::before_copy(statement.cast())? {
                    Some(defaults) => after(Finish::Copy(defaults)),
                    None => Step::Pass,
                })
            }
            NodeTag::T_CreateTableAsStmt => {
                fences::check(statement)?;
                or_carry(distribute::before_table_as(pstmt)?, pstmt, query, context)
            }
            NodeTag::T_CreateSeqStmt => {
                sequences::before_create(statement.cast(), is_part(context))
            }
            // A part of ALTER TABLE, which has the lock and carries the whole.
            NodeTag::T_AlterSeqStmt if is_part(context) => {
                let change = sequences::before_alter(statement.cast(), true)?;
                Ok(change.map_or(Step::Pass, |change| after(Finish::Sequence(change))))
            }
            NodeTag::T_TruncateStmt => {
                fences::check(statement)?;
                replicated::before_truncate(statement.cast())?;
                let step = truncate::before(pstmt)?;
                sequences::before_truncate(statement.cast(), step)
            }
            NodeTag::T_VacuumStmt | NodeTag::T_ClusterStmt => maintenance::before(pstmt, at_top),
            NodeTag::T_ConstraintsSetStmt if !is_node_session() => deferral::before(pstmt),
            _ => {
                fences::check(statement)?;
                carry::before(pstmt, query, context)
            }
        }
    }
}

/// The user that stays runs all but what is the node role's.
///
/// SAFETY: `statement` is a valid utility statement.
unsafe fn put_user_in_force(statement: *mut pg_sys::Node) -> Result<(), Report> {
    use pg_sys::TransactionStmtKind::{TRANS_STMT_COMMIT_PREPARED, TRANS_STMT_ROLLBACK_PREPARED};
    if !lasting_user::is_to_be_resumed() {
        return Ok(());
    }
    // SAFETY: the caller's; the cast follows the tag.
    unsafe {
        match (*statement).type_ {
            pg_sys::NodeTag::T_TransactionStmt => {
                let kind = (*statement.cast::<pg_sys::TransactionStmt>()).kind;
                if matches!(kind, TRANS_STMT_COMMIT_PREPARED | TRANS_STMT_ROLLBACK_PREPARED) {
                    // The prepared transaction is the node role's.
                    node_session::leave_user();
                    return Ok(());
                }
                if lasting_user::is_lost() { Ok(()) } else { lasting_user::resume() }
            }
            // Another user is being named.
            pg_sys::NodeTag::T_VariableSetStmt
                if text((*statement.cast::<pg_sys::VariableSetStmt>()).name)
                    == node_session::EFFECTIVE_USER =>
            {
                Ok(())
            }
            _ => lasting_user::resume(),
        }
    }
}

fn is_part(context: pg_sys::ProcessUtilityContext::Type) -> bool {
    context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND
}

/// PostgreSQL runs the statement as it is, then this is done.
fn after(finish: Finish) -> Step {
    Step::Run { statement: std::ptr::null_mut(), finish: Some(finish) }
}

/// What another part has not taken may have to reach every node as it stands.
///
/// SAFETY: as for `before_utility`.
unsafe fn or_carry(
    step: Step,
    pstmt: *mut pg_sys::PlannedStmt,
    query: *const std::ffi::c_char,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    match step {
        // SAFETY: the caller's.
        Step::Pass => unsafe { carry::before(pstmt, query, context) },
        taken => Ok(taken),
    }
}

/// `SET shardman.effective_user` and `SET shardman.apply` from another node.
/// Anyone else gets PostgreSQL's own answer: there are no such settings.
unsafe fn set(statement: *mut pg_sys::VariableSetStmt, at_top: bool) -> Result<Step, Report> {
    // SAFETY: the grammar makes a VariableSetStmt with a name for SET, and a
    // list of A_Const for its values.
    unsafe {
        let name = text((*statement).name);
        let is_import = name == "TRANSACTION SNAPSHOT";
        if is_import || name == "TRANSACTION" || name.eq_ignore_ascii_case("transaction_isolation")
        {
            if is_import {
                snapshot::check_import()?;
            }
            return Ok(after_isolation(is_import, at_top));
        }
        if !at_top || (*statement).kind != pg_sys::VariableSetKind::VAR_SET_VALUE {
            return Ok(Step::Pass);
        }
        if !name.starts_with("shardman.") || !is_node_session() {
            return Ok(Step::Pass);
        }
        let mut values = elements::<pg_sys::A_Const>((*statement).args)
            .map(|constant| text((*constant).val.sval.sval));
        let value = values.next().unwrap_or_default();
        match name.as_str() {
            node_session::EFFECTIVE_USER => {
                node_session::begin_alone();
                node_session::act_as(&value)?;
                lasting_user::forget();
                if let Some(path) = values.next() {
                    node_session::search(&path)?;
                    if values.next().is_some_and(|word| word == "stays") {
                        lasting_user::stay(&value, &path)?;
                    }
                }
            }
            node_session::APPLY => {
                let command = serde_json::from_str::<NodeCommand>(&value).map_err(|error| {
                    Report::new(
                        PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                        "could not read a command of another node",
                    )
                    .detail(error.to_string())
                })?;
                receive::apply(command)?;
            }
            node_session::MAINTAIN => return maintenance::receive(&value),
            node_session::GATE => match GateRequest::parse(&value) {
                Some(GateRequest::Close(closing)) => {
                    snapshot::joins_the_cluster();
                    gate::close(closing)?;
                }
                Some(GateRequest::Open) => gate::open(),
                None => {
                    return Err(Report::new(
                        PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                        "could not read what another node asks of the commit gate",
                    ));
                }
            },
            _ => return Ok(Step::Pass),
        }
        Ok(Step::Done)
    }
}

/// REPEATABLE READ may be in force when BEGIN has run.
unsafe fn begin_of_transaction(statement: *mut pg_sys::TransactionStmt, at_top: bool) -> Step {
    use pg_sys::TransactionStmtKind::{TRANS_STMT_BEGIN, TRANS_STMT_START};
    // SAFETY: the caller's; the level is a variable of the backend.
    let concerns_us = unsafe {
        matches!((*statement).kind, TRANS_STMT_BEGIN | TRANS_STMT_START)
            && (!(*statement).options.is_null()
                || pg_sys::XactIsoLevel as u32 == pg_sys::XACT_REPEATABLE_READ)
    };
    if concerns_us { after_isolation(false, at_top) } else { Step::Pass }
}

fn after_isolation(is_import: bool, is_top: bool) -> Step {
    if !is_import && !snapshot::is_wanted() {
        return Step::Pass;
    }
    let finish = Some(Finish::Isolation { is_import, is_top });
    Step::Run { statement: std::ptr::null_mut(), finish }
}

/// Whether another node sends rows for a leaf of this one.
unsafe fn is_rows_for_leaf(statement: *mut pg_sys::CopyStmt) -> bool {
    // SAFETY: the caller's valid statement.
    unsafe {
        (*statement).is_from
            && (*statement).filename.is_null()
            && (*statement).whereClause.is_null()
            && names_leaf((*statement).relation)
            && is_node_session()
    }
}

/// Whether another node empties leaves of this one.
unsafe fn is_for_leaves(statement: *mut pg_sys::TruncateStmt) -> bool {
    // SAFETY: the caller's valid statement: a list of RangeVar.
    unsafe {
        elements::<pg_sys::RangeVar>((*statement).relations).all(|range| names_leaf(range))
            && is_node_session()
    }
}

/// Whether a name is of a real leaf: nothing else is found under its schema.
unsafe fn names_leaf(range: *mut pg_sys::RangeVar) -> bool {
    // SAFETY: the caller's: null or valid.
    unsafe { !range.is_null() && text((*range).schemaname) == LEAF_SCHEMA }
}

/// PREPARE in a node session: not under a name that the other node could take
/// for a statement of its own, such as the one that names the effective user.
unsafe fn prepare(statement: *mut pg_sys::PrepareStmt) -> Result<(), Report> {
    // SAFETY: the caller's; the grammar sets the name.
    let name = unsafe { text((*statement).name) };
    if !name.starts_with(fdw::RESERVED_NAMES) || !is_node_session() {
        return Ok(());
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_RESERVED_NAME,
        format!("prepared statement name \"{name}\" is reserved"),
    )
    .detail(format!("The prefix \"{}\" is for statements of other nodes.", fdw::RESERVED_NAMES)))
}

unsafe fn end_of_transaction(statement: *mut pg_sys::TransactionStmt) -> Result<(), Report> {
    use pg_sys::TransactionStmtKind::{TRANS_STMT_COMMIT, TRANS_STMT_PREPARE};
    // SAFETY: the caller's; IsTransactionBlock reads backend state.
    unsafe {
        let ends = matches!((*statement).kind, TRANS_STMT_COMMIT | TRANS_STMT_PREPARE);
        if ends && pg_sys::IsTransactionBlock() {
            node_session::finish_as_user();
            if (*statement).kind == TRANS_STMT_PREPARE {
                replicated::check_before_prepare()?;
                recovery::record_part(&text((*statement).gid))?;
            }
        }
    }
    Ok(())
}
