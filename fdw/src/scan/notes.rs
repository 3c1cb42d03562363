//! Why a part of a query stays here, for EXPLAIN (VERBOSE).
//!
//! The reasons travel at the end of a plan's private list: a list of strings whose
//! first says what they are.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

use crate::backend::{c_string_node, cells, string_node};

const MARK: &[u8] = b"not shipped";

/// Why what would be built on a relation stays here: found out while paths are
/// made, shown by the plan of the relation. The first reason of each kind counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reasons {
    /// Of a join.
    pub join: Option<&'static str>,
    /// Of aggregates and groups.
    pub grouping: Option<&'static str>,
}

/// What stays here, and why; each reason once.
#[derive(Default)]
pub struct Notes(Vec<String>);

impl Notes {
    /// `what` stays here for `reason`.
    pub fn add(&mut self, what: &str, reason: &str) {
        let note = format!("{what}: {reason}");
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// What would have been built on the relation.
    pub fn add_reasons(&mut self, reasons: &Reasons) {
        for (what, reason) in [("join", reasons.join), ("aggregate", reasons.grouping)] {
            if let Some(reason) = reason {
                self.add(what, reason);
            }
        }
    }

    /// A plan's private list with the notes at its end.
    ///
    /// # Safety
    /// `private` is a list of nodes.
    pub unsafe fn append_to(&self, private: *mut pg_sys::List) -> *mut pg_sys::List {
        if self.0.is_empty() {
            return private;
        }
        let notes = std::iter::once(MARK).chain(self.0.iter().map(|n| n.as_bytes()));
        // SAFETY: guarded; allocates in the planner's context.
        unsafe {
            let list = notes
                .fold(null_mut(), |list, note| pg_sys::lappend(list, string_node(note).cast()));
            pg_sys::lappend(private, list.cast())
        }
    }

    /// The notes of a plan.
    ///
    /// # Safety
    /// `private` is a plan's private list.
    pub unsafe fn of(private: *const pg_sys::List) -> Vec<Vec<u8>> {
        // SAFETY: per the contract; casts follow the tags.
        unsafe {
            for part in cells::<pg_sys::Node>(private) {
                if part.is_null() || (*part).type_ != NodeTag::T_List {
                    continue;
                }
                let mut strings = cells::<pg_sys::Node>(part.cast());
                let first = strings.next();
                let is_marked = first.is_some_and(|node| {
                    (*node).type_ == NodeTag::T_String && c_string_node(node) == MARK
                });
                if is_marked {
                    return strings.map(|node| c_string_node(node)).collect();
                }
            }
            Vec::new()
        }
    }
}
