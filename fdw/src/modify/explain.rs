//! EXPLAIN of modifications.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::CmdType;

use super::insert::batch_size;
use super::private::ModifyPrivate;
use crate::backend::{Attribute, attributes};
use crate::deparse::{OnConflict, delete_statement, insert_statement, update_statement};
use crate::error::callback;
use crate::explain::{integer, node, text};
use crate::placement::{Placement, RemoteRelation};

/// A plain-old frame.
pub unsafe extern "C-unwind" fn explain_modify(
    state: *mut pg_sys::ModifyTableState,
    info: *mut pg_sys::ResultRelInfo,
    private: *mut pg_sys::List,
    _subplan: i32,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: called by EXPLAIN with the executor's pointers; no destructor here.
    unsafe {
        callback(|| {
            let relation = (*info).ri_RelationDesc;
            let placement = Placement::of((*relation).rd_id)?;
            node(es, placement);
            if (*es).verbose {
                let remote = RemoteRelation::of((*relation).rd_id, placement);
                let all = attributes((*relation).rd_att);
                let private = ModifyPrivate::from_list(private);
                let targets: Vec<Attribute> = all
                    .iter()
                    .filter(|a| private.targets.contains(&i32::from(a.number)))
                    .cloned()
                    .collect();
                let returning: Vec<Vec<u8>> =
                    private.returning.iter().map(|n| remote.column_by_number(&all, *n)).collect();
                let nothing = OnConflict::nothing(private.does_nothing_on_conflict);
                let operation = (*state).operation;
                let sql = match operation {
                    CmdType::CMD_UPDATE => update_statement(&remote, &targets, &returning),
                    CmdType::CMD_DELETE => delete_statement(&remote, &returning),
                    _ => insert_statement(&remote, &targets, 1, &nothing, &returning),
                };
                text(es, c"Remote SQL", &sql);
                if operation == CmdType::CMD_INSERT {
                    integer(es, c"Batch Size", batch_size(info) as i64);
                }
            }
            Ok(())
        })
    }
}
