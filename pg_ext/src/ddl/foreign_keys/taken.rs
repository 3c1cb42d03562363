//! FOREIGN KEY clauses of a statement, apart from the rest of it.
#![allow(unsafe_code)]

use std::cell::Cell;

use pgrx::prelude::*;

use crate::lists::{elements, list_of, text};
use crate::report::Report;

/// The clauses, in order, as table constraints. The nodes live as long as the
/// statement's copy.
#[derive(Default)]
pub struct Taken {
    pub(super) constraints: Vec<*mut pg_sys::Constraint>,
}

impl Taken {
    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.constraints.is_empty()
    }
}

/// Takes them out of a CREATE TABLE.
///
/// # Safety
/// `statement` is a valid CreateStmt that belongs to us.
pub unsafe fn take_from_create(statement: *mut pg_sys::CreateStmt) -> Result<Taken, Report> {
    let mut taken = Taken::default();
    // SAFETY: the caller's; the grammar's node types.
    unsafe {
        let mut kept = Vec::new();
        for element in elements::<pg_sys::Node>((*statement).tableElts) {
            match (*element).type_ {
                pg_sys::NodeTag::T_ColumnDef => take_from_column(element.cast(), &mut taken)?,
                pg_sys::NodeTag::T_Constraint if is_foreign_key(element.cast()) => {
                    taken.constraints.push(element.cast());
                    continue;
                }
                _ => {}
            }
            kept.push(element);
        }
        if !taken.is_empty() {
            (*statement).tableElts = list_of(kept);
        }
    }
    Ok(taken)
}

/// Takes them out of an ALTER TABLE; the rest may be nothing.
///
/// # Safety
/// `statement` is a valid AlterTableStmt that belongs to us.
pub unsafe fn take_from_alter(statement: *mut pg_sys::AlterTableStmt) -> Result<Taken, Report> {
    use pg_sys::AlterTableType as Alter;
    let mut taken = Taken::default();
    // SAFETY: the caller's; the grammar's node types.
    unsafe {
        let mut kept = Vec::new();
        for command in elements::<pg_sys::AlterTableCmd>((*statement).cmds) {
            match (*command).subtype {
                Alter::AT_AddColumn => take_from_column((*command).def.cast(), &mut taken)?,
                Alter::AT_AddConstraint if is_foreign_key((*command).def.cast()) => {
                    taken.constraints.push((*command).def.cast());
                    continue;
                }
                _ => {}
            }
            kept.push(command);
        }
        if !taken.is_empty() {
            (*statement).cmds = list_of(kept);
        }
    }
    Ok(taken)
}

/// SAFETY: a valid Constraint.
unsafe fn is_foreign_key(constraint: *mut pg_sys::Constraint) -> bool {
    // SAFETY: the caller's.
    unsafe { (*constraint).contype == pg_sys::ConstrType::CONSTR_FOREIGN }
}

/// `REFERENCES` of a column, with the DEFERRABLE and INITIALLY that follow it,
/// which the grammar has as constraints of their own.
///
/// SAFETY: a valid ColumnDef that belongs to us.
unsafe fn take_from_column(
    column: *mut pg_sys::ColumnDef,
    taken: &mut Taken,
) -> Result<(), Report> {
    use pg_sys::ConstrType::*;
    // SAFETY: the caller's; a column's constraints are Constraint nodes. The
    // name is copied into the current memory context.
    unsafe {
        let mut kept = Vec::new();
        let mut open: Option<*mut pg_sys::Constraint> = None;
        let mut is_deferrable: Option<bool> = None;
        let had = taken.constraints.len();
        for constraint in elements::<pg_sys::Constraint>((*column).constraints) {
            match ((*constraint).contype, open) {
                (CONSTR_FOREIGN, _) => {
                    let name = pg_sys::makeString((*column).colname);
                    (*constraint).fk_attrs = list_of([name]);
                    taken.constraints.push(constraint);
                    open = Some(constraint);
                    is_deferrable = None;
                }
                (CONSTR_ATTR_DEFERRABLE, Some(key)) => {
                    (*key).deferrable = true;
                    is_deferrable = Some(true);
                }
                (CONSTR_ATTR_NOT_DEFERRABLE, Some(key)) => {
                    if (*key).initdeferred {
                        return Err(deferred_must_be_deferrable());
                    }
                    (*key).deferrable = false;
                    is_deferrable = Some(false);
                }
                (CONSTR_ATTR_DEFERRED, Some(key)) => {
                    if is_deferrable == Some(false) {
                        return Err(deferred_must_be_deferrable());
                    }
                    (*key).deferrable = true;
                    (*key).initdeferred = true;
                }
                (CONSTR_ATTR_IMMEDIATE, Some(key)) => (*key).initdeferred = false,
                _ => {
                    open = None;
                    kept.push(constraint);
                }
            }
        }
        if taken.constraints.len() > had {
            (*column).constraints = list_of(kept);
        }
    }
    Ok(())
}

fn deferred_must_be_deferrable() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_SYNTAX_ERROR,
        "constraint declared INITIALLY DEFERRED must be DEFERRABLE",
    )
}

thread_local! {
    static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// While alive, foreign keys are taken out of the ALTER TABLE that the extension
/// itself runs: another node's statement, whose foreign keys come as definitions.
pub struct LeftOut(());

impl LeftOut {
    /// Begins it.
    pub fn begin() -> Self {
        LEFT_OUT.set(true);
        LeftOut(())
    }
}

impl Drop for LeftOut {
    fn drop(&mut self) {
        LEFT_OUT.set(false);
    }
}

/// Whether foreign keys are to be taken out of this utility statement.
///
/// # Safety
/// `statement` is a valid utility statement.
pub unsafe fn are_left_out(statement: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller's; the tag names the struct.
    unsafe {
        LEFT_OUT.get()
            && (*statement).type_ == pg_sys::NodeTag::T_AlterTableStmt
            && has_foreign_keys(statement.cast())
    }
}

/// SAFETY: a valid AlterTableStmt.
unsafe fn has_foreign_keys(statement: *mut pg_sys::AlterTableStmt) -> bool {
    use pg_sys::AlterTableType as Alter;
    // SAFETY: the caller's; the grammar's node types.
    unsafe {
        elements::<pg_sys::AlterTableCmd>((*statement).cmds).any(|command| {
            match (*command).subtype {
                Alter::AT_AddConstraint => is_foreign_key((*command).def.cast()),
                Alter::AT_AddColumn => {
                    let column: *mut pg_sys::ColumnDef = (*command).def.cast();
                    elements::<pg_sys::Constraint>((*column).constraints)
                        .any(|constraint| is_foreign_key(constraint))
                }
                _ => false,
            }
        })
    }
}

/// The referenced table's name as written, for messages.
///
/// # Safety
/// A valid foreign-key Constraint.
pub(super) unsafe fn referenced_name(constraint: *mut pg_sys::Constraint) -> String {
    // SAFETY: the caller's; the grammar sets pktable.
    unsafe { text((*(*constraint).pktable).relname) }
}
