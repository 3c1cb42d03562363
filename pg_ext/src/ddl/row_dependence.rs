//! Which statements can fail because of rows, or destroy some: those cannot be
//! left for a node that is down to do later.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use crate::lists::elements;

/// Whether a statement needs every node. What is not known to concern the
/// catalogues alone does.
///
/// # Safety
/// `statement` is a valid utility statement.
pub unsafe fn needs_every_node(statement: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag::*;
    // SAFETY: the caller's; the tag names the struct.
    unsafe {
        match (*statement).type_ {
            T_RenameStmt
            | T_AlterOwnerStmt
            | T_AlterObjectSchemaStmt
            | T_CommentStmt
            | T_GrantStmt
            | T_GrantRoleStmt
            | T_AlterDefaultPrivilegesStmt
            | T_SecLabelStmt
            | T_CreateTrigStmt
            | T_CreatePolicyStmt
            | T_AlterPolicyStmt
            | T_CreateStatsStmt
            | T_AlterStatsStmt
            | T_CreateSchemaStmt
            | T_CreateFunctionStmt
            | T_AlterFunctionStmt
            | T_ViewStmt
            | T_CreateRoleStmt
            | T_AlterRoleStmt
            | T_AlterRoleSetStmt
            | T_CompositeTypeStmt
            | T_CreateEnumStmt
            | T_AlterEnumStmt
            | T_CreateRangeStmt
            | T_CreateDomainStmt
            | T_DefineStmt
            | T_CreateCastStmt
            | T_CreateStmt
            | T_CreateSeqStmt
            | T_AlterSeqStmt
            | T_CreateOpClassStmt
            | T_CreateOpFamilyStmt
            | T_CreateForeignServerStmt
            | T_CreateFdwStmt
            | T_CreateUserMappingStmt
            | T_CreateEventTrigStmt
            | T_CreateConversionStmt
            | T_LockStmt => false,
            T_AlterTableStmt => {
                let commands = (*statement.cast::<pg_sys::AlterTableStmt>()).cmds;
                elements::<pg_sys::AlterTableCmd>(commands).any(|command| looks_at_rows(command))
            }
            _ => true,
        }
    }
}

/// SAFETY: `command` is valid, as the grammar makes it.
#[allow(non_upper_case_globals)]
unsafe fn looks_at_rows(command: *mut pg_sys::AlterTableCmd) -> bool {
    use pg_sys::AlterTableType::*;
    // SAFETY: the caller's; ADD COLUMN has a ColumnDef.
    unsafe {
        match (*command).subtype {
            // A column that is NULL in all rows. A default may be volatile, and
            // a domain may have constraints.
            AT_AddColumn => {
                let column: *mut pg_sys::ColumnDef = (*command).def.cast();
                let constraints = elements::<pg_sys::Constraint>((*column).constraints);
                constraints.into_iter().any(|constraint| !is_plain_default(constraint))
                    || (*column).is_not_null
                    || is_domain((*column).typeName)
            }
            AT_ColumnDefault
            | AT_DropNotNull
            | AT_SetStatistics
            | AT_SetOptions
            | AT_ResetOptions
            | AT_SetStorage
            | AT_SetCompression
            | AT_ChangeOwner
            | AT_EnableTrig
            | AT_EnableAlwaysTrig
            | AT_EnableReplicaTrig
            | AT_DisableTrig
            | AT_EnableTrigAll
            | AT_DisableTrigAll
            | AT_EnableTrigUser
            | AT_DisableTrigUser
            | AT_EnableRowSecurity
            | AT_DisableRowSecurity
            | AT_ForceRowSecurity
            | AT_NoForceRowSecurity
            | AT_ReplicaIdentity => false,
            _ => true,
        }
    }
}

/// Whether a constraint is a default that is the same for all rows, as its text
/// shows: a constant, or the time of the transaction. Or NULL, which is none.
unsafe fn is_plain_default(constraint: *mut pg_sys::Constraint) -> bool {
    use pg_sys::ConstrType::{CONSTR_DEFAULT, CONSTR_NULL};
    use pg_sys::NodeTag::{T_A_Const, T_SQLValueFunction, T_TypeCast};
    // SAFETY: the caller's, as the grammar makes it; the tag names the struct.
    unsafe {
        let mut value = (*constraint).raw_expr;
        if (*constraint).contype != CONSTR_DEFAULT || value.is_null() {
            return (*constraint).contype == CONSTR_NULL;
        }
        while (*value).type_ == T_TypeCast {
            value = (*value.cast::<pg_sys::TypeCast>()).arg;
        }
        matches!((*value).type_, T_A_Const | T_SQLValueFunction)
    }
}

/// Also for a type that cannot be looked up: PostgreSQL will say so.
unsafe fn is_domain(name: *mut pg_sys::TypeName) -> bool {
    // SAFETY: the caller's valid TypeName; syscache look-ups.
    unsafe {
        let found = pg_sys::LookupTypeName(std::ptr::null_mut(), name, std::ptr::null_mut(), true);
        if found.is_null() {
            return true;
        }
        let oid = pg_sys::typeTypeId(found);
        pg_sys::ReleaseSysCache(found);
        pg_sys::get_typtype(oid) as u8 == pg_sys::TYPTYPE_DOMAIN
    }
}
