//! Managed roles: the members of the role `global`, the same on every node.
#![allow(unsafe_code)]

use std::ffi::CStr;

use pgrx::prelude::*;

use crate::lists::{elements, text};

/// Membership in this role is what makes a role managed.
const GLOBAL: &CStr = c"global";

/// Whether a statement makes or changes a managed role, so that it is for every
/// node. Of memberships those of managed roles count, whatever they are in.
///
/// # Safety
/// `statement` is a valid utility statement.
pub unsafe fn concerns_managed_role(statement: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag;
    // SAFETY: each arm casts to the struct that the tag names; the grammar makes
    // lists of RoleSpec, AccessPriv and DefElem.
    unsafe {
        match (*statement).type_ {
            NodeTag::T_CreateRoleStmt => {
                let create: *mut pg_sys::CreateRoleStmt = statement.cast();
                elements::<pg_sys::DefElem>((*create).options)
                    .filter(|option| text((**option).defname) == "addroleto")
                    .any(|option| {
                        elements::<pg_sys::RoleSpec>((*option).arg.cast())
                            .any(|role| is_global(&text((*role).rolename)))
                    })
            }
            NodeTag::T_AlterRoleStmt => {
                is_managed((*statement.cast::<pg_sys::AlterRoleStmt>()).role)
            }
            NodeTag::T_AlterRoleSetStmt => {
                is_managed((*statement.cast::<pg_sys::AlterRoleSetStmt>()).role)
            }
            NodeTag::T_DropRoleStmt => {
                let drop: *mut pg_sys::DropRoleStmt = statement.cast();
                elements((*drop).roles).any(|role| is_managed(role))
            }
            NodeTag::T_GrantRoleStmt => {
                let grant: *mut pg_sys::GrantRoleStmt = statement.cast();
                elements::<pg_sys::AccessPriv>((*grant).granted_roles)
                    .any(|role| is_global(&text((*role).priv_name)))
                    || elements((*grant).grantee_roles).any(|role| is_managed(role))
            }
            NodeTag::T_RenameStmt => {
                let rename: *mut pg_sys::RenameStmt = statement.cast();
                (*rename).renameType == pg_sys::ObjectType::OBJECT_ROLE
                    && is_managed_name((*rename).subname)
            }
            NodeTag::T_CommentStmt => {
                let comment: *mut pg_sys::CommentStmt = statement.cast();
                (*comment).objtype == pg_sys::ObjectType::OBJECT_ROLE
                    && is_managed_name((*(*comment).object.cast::<pg_sys::String>()).sval)
            }
            _ => false,
        }
    }
}

fn is_global(name: &str) -> bool {
    name.as_bytes() == GLOBAL.to_bytes()
}

/// SAFETY: null or a valid RoleSpec.
unsafe fn is_managed(role: *mut pg_sys::RoleSpec) -> bool {
    // SAFETY: the caller's; missing_ok. PUBLIC is no role.
    unsafe {
        !role.is_null()
            && (*role).roletype != pg_sys::RoleSpecType::ROLESPEC_PUBLIC
            && is_member(pg_sys::get_rolespec_oid(role, true))
    }
}

/// SAFETY: null or a NUL-terminated name.
unsafe fn is_managed_name(name: *const std::ffi::c_char) -> bool {
    // SAFETY: the caller's; missing_ok.
    unsafe { !name.is_null() && is_member(pg_sys::get_role_oid(name, true)) }
}

/// Direct members only: a role in a managed one may be of one node.
fn is_member(role: pg_sys::Oid) -> bool {
    // SAFETY: syscache look-ups; the tuple is released at once.
    unsafe {
        let global = pg_sys::get_role_oid(GLOBAL.as_ptr(), true);
        if role == pg_sys::InvalidOid || global == pg_sys::InvalidOid {
            return false;
        }
        let cache = pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM as i32;
        pg_sys::SearchSysCacheExists(
            cache,
            global.into(),
            role.into(),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
        )
    }
}
