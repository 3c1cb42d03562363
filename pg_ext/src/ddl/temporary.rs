//! Temporary relations: never anybody else's.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::fences::relation_of;
use crate::lists::{elements, text};

/// Whether a statement is about a temporary relation: always local.
///
/// # Safety
/// `statement` is a valid utility statement.
pub unsafe fn is_temporary(statement: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag;
    // SAFETY: the tags name the structs.
    unsafe {
        let range = match (*statement).type_ {
            NodeTag::T_CreateStmt => (*statement.cast::<pg_sys::CreateStmt>()).relation,
            NodeTag::T_CreateSeqStmt => (*statement.cast::<pg_sys::CreateSeqStmt>()).sequence,
            NodeTag::T_ViewStmt => (*statement.cast::<pg_sys::ViewStmt>()).view,
            NodeTag::T_IndexStmt => (*statement.cast::<pg_sys::IndexStmt>()).relation,
            NodeTag::T_AlterTableStmt => (*statement.cast::<pg_sys::AlterTableStmt>()).relation,
            NodeTag::T_RenameStmt => (*statement.cast::<pg_sys::RenameStmt>()).relation,
            NodeTag::T_CreateTrigStmt => (*statement.cast::<pg_sys::CreateTrigStmt>()).relation,
            NodeTag::T_DropStmt => {
                let drop: *mut pg_sys::DropStmt = statement.cast();
                let kinds = [
                    pg_sys::ObjectType::OBJECT_TABLE,
                    pg_sys::ObjectType::OBJECT_VIEW,
                    pg_sys::ObjectType::OBJECT_INDEX,
                ];
                return kinds.contains(&(*drop).removeType)
                    && elements::<pg_sys::List>((*drop).objects).any(|names| {
                        is_temporary_relation(pg_sys::makeRangeVarFromNameList(names))
                    });
            }
            _ => return false,
        };
        is_temporary_relation(range)
    }
}

unsafe fn is_temporary_relation(range: *mut pg_sys::RangeVar) -> bool {
    // SAFETY: null or a valid RangeVar.
    unsafe {
        if range.is_null() {
            return false;
        }
        let by_name = (*range).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
            || text((*range).schemaname).starts_with("pg_temp");
        by_name
            || relation_of(range)
                .is_some_and(|rel| pg_sys::isAnyTempNamespace(pg_sys::get_rel_namespace(rel)))
    }
}
