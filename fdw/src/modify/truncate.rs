//! TRUNCATE: one statement per node, sent to all before any is waited for.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::pg_sys;

use crate::backend::cells;
use crate::deparse::truncate_statement;
use crate::error::{Error, Refusal, SqlState, callback};
use crate::options;
use crate::placement::{Placement, RemoteRelation};
use crate::session::{self, Request, Statement, Target};

/// A plain-old frame.
pub unsafe extern "C-unwind" fn truncate(
    relations: *mut pg_sys::List,
    behavior: pg_sys::DropBehavior::Type,
    restarts_sequences: bool,
) {
    // SAFETY: called with open relations; no destructor here.
    unsafe {
        callback(|| {
            let cascades = behavior == pg_sys::DropBehavior::DROP_CASCADE;
            let relids: Vec<pg_sys::Oid> = cells::<pg_sys::RelationData>(relations)
                .map(|relation| (*relation).rd_id)
                .collect();
            run(&relids, cascades, restarts_sequences)
        })
    }
}

fn run(relids: &[pg_sys::Oid], cascades: bool, restarts: bool) -> Result<(), Error> {
    // SAFETY: guarded.
    let user = unsafe { pg_sys::GetUserId() };
    let mut groups: Vec<(Target, Vec<RemoteRelation>)> = Vec::new();
    for relid in relids {
        let placement = Placement::of(*relid)?;
        let relation = RemoteRelation::of(*relid, placement);
        let (server, own) = options::table_options(*relid);
        if own.or(options::server_options(server)).get_bool("truncatable") == Some(false) {
            return Err(Refusal::new(
                SqlState::WRONG_STATE,
                "cannot truncate a foreign table whose option truncatable is off",
            )
            .into());
        }
        let target = placement.target(user);
        match groups.iter_mut().find(|(t, _)| *t == target) {
            Some((_, relations)) => relations.push(relation),
            None => groups.push((target, vec![relation])),
        }
    }
    let mut sent = Vec::with_capacity(groups.len());
    for (target, relations) in groups {
        let statement = Statement {
            sql: truncate_statement(&relations, cascades, restarts).into(),
            types: Rc::new([]),
            parameter_formats: Rc::new([]),
            result_formats: Rc::new([]),
            is_kept: false,
        };
        let slot = session::acquire(target)?;
        slot.enter()?.wrote = true;
        let request = Request { statement: &statement, parameters: &[], portal: "", max_rows: 0 };
        let ticket = slot.send(&request)?;
        sent.push((slot, ticket, statement));
    }
    for (slot, ticket, statement) in sent {
        session::collect(&slot, ticket, &statement)?;
    }
    Ok(())
}
