//! What every managed table must be, whatever its kind.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use crate::report::Report;

/// A kind of managed table, as errors call it.
#[derive(Clone, Copy)]
pub struct TableKind {
    /// As in "a sharded table".
    pub word: &'static str,
    /// What makes a table one.
    pub option: &'static str,
}

/// Partitions on several nodes.
pub const SHARDED: TableKind = TableKind { word: "sharded", option: "distributed_by" };
/// The same rows on every node.
pub const REPLICATED: TableKind = TableKind { word: "replicated", option: "replicated" };

impl TableKind {
    /// Refuses a table that is not permanent, is part of an extension, or has
    /// parents.
    ///
    /// # Safety
    /// `statement` is a valid CreateStmt.
    pub unsafe fn check(self, statement: *mut pg_sys::CreateStmt) -> Result<(), Report> {
        // SAFETY: the caller's.
        unsafe {
            match (*(*statement).relation).relpersistence as u8 {
                pg_sys::RELPERSISTENCE_TEMP => return Err(self.not_permanent("a temporary")),
                pg_sys::RELPERSISTENCE_UNLOGGED => return Err(self.not_permanent("an unlogged")),
                _ => {}
            }
            if pg_sys::creating_extension {
                return Err(unsupported(format!(
                    "an extension script cannot create a {} table",
                    self.word
                )));
            }
            if !(*statement).inhRelations.is_null() {
                return Err(unsupported(format!(
                    "a {} table cannot inherit from another table",
                    self.word
                ))
                .hint("Use LIKE to take over columns."));
            }
        }
        Ok(())
    }

    /// The refusal of a table that is not permanent.
    pub fn not_permanent(self, what: &str) -> Report {
        unsupported(format!("{what} table cannot be {}", self.word))
            .hint(format!("Create a permanent table, or leave out the option {}.", self.option))
    }
}

fn unsupported(message: String) -> Report {
    Report::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, message)
}
