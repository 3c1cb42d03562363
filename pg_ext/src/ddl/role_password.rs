//! Passwords of roles in statements that go to other nodes.
#![allow(unsafe_code)]

use cluster::ddl::replace_password;
use pgrx::prelude::*;

use crate::catalog::ActingAs;
use crate::lists::{elements, text};
use crate::report::Report;

/// Where a statement has a password.
pub struct Password {
    role: String,
    offset: usize,
}

/// The password of CREATE ROLE and ALTER ROLE.
///
/// # Safety
/// `statement` is the valid utility statement of `pstmt`.
pub unsafe fn password_of(
    statement: *mut pg_sys::Node,
    pstmt: *mut pg_sys::PlannedStmt,
) -> Option<Password> {
    // SAFETY: the tags name the structs; options are DefElems.
    unsafe {
        let (role, options) = match (*statement).type_ {
            pg_sys::NodeTag::T_CreateRoleStmt => {
                let create: *mut pg_sys::CreateRoleStmt = statement.cast();
                (text((*create).role), (*create).options)
            }
            pg_sys::NodeTag::T_AlterRoleStmt => {
                let alter: *mut pg_sys::AlterRoleStmt = statement.cast();
                let role = pg_sys::get_rolespec_name((*alter).role);
                (text(role), (*alter).options)
            }
            _ => return None,
        };
        let option = elements::<pg_sys::DefElem>(options)
            .find(|option| text((**option).defname) == "password")?;
        if (*option).arg.is_null() {
            return None;
        }
        let start = (*pstmt).stmt_location.max(0);
        let offset = usize::try_from((*option).location - start).ok()?;
        Some(Password { role, offset })
    }
}

impl Password {
    /// The statement with what the server stored in place of the password.
    pub fn hide(&self, statement: String) -> Result<String, Report> {
        let _acting = ActingAs::owner_of_the_catalogs();
        let verifier = Spi::get_one_with_args::<String>(
            "SELECT rolpassword FROM pg_catalog.pg_authid
             WHERE rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name",
            &[self.role.clone().into()],
        )?;
        let hidden = verifier.and_then(|v| replace_password(&statement, self.offset, &v));
        hidden.ok_or_else(|| {
            Report::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot send the password of a role to other nodes in clear text",
            )
            .hint("Write the password as a plain string literal.")
        })
    }
}
