//! `shardman.get_partition_for_value`: which partition and node a key belongs
//! to.
#![allow(unsafe_code)]

use std::ffi::CString;

use pgrx::prelude::*;
use pgrx::spi::quote_literal;

use crate::catalog::{qualified_name, registry};
use crate::lists::text;
use crate::report::Report;

#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_get_partition_for_value_wrapper()
-> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// A function of (regclass, VARIADIC "any"): no Rust type stands for values of
/// any type.
#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn get_partition_for_value_wrapper(
    call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: PostgreSQL calls it as such; no destructor is live here.
    unsafe { fdw::callback(|| Ok(answer(call)?)) }
}

unsafe fn answer(call: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum, Report> {
    // SAFETY: the caller's; as many arguments as the call says.
    unsafe {
        let count = usize::try_from((*call).nargs).unwrap_or(0);
        let arguments = (*call).args.as_slice(count);
        (*call).isnull = true;
        if count == 0 || arguments[0].isnull {
            return Ok(pg_sys::Datum::from(0));
        }
        if pg_sys::get_fn_expr_variadic((*call).flinfo) {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "VARIADIC arguments are not supported here",
            )
            .hint("Give the values one by one."));
        }
        let rel = pg_sys::Oid::from(arguments[0].value.value() as u32);
        let known = registry()?;
        let Some(table) = known.table_of(rel) else { return Ok(pg_sys::Datum::from(0)) };
        if table.distribution_columns.len() != count - 1 {
            let columns = table.distribution_columns.join(", ");
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                format!(
                    "table {} has {} distribution columns, not {}",
                    qualified_name(rel),
                    table.distribution_columns.len(),
                    count - 1
                ),
            )
            .detail(format!("They are: {columns}.")));
        }
        let mut values = String::new();
        for (at, column) in (1..count).zip(&table.distribution_columns) {
            let printed = match arguments[at].isnull {
                true => "NULL".to_owned(),
                false => quote_literal(&print(call, at, arguments[at].value)?),
            };
            values += &format!(", {printed}::{}", type_of(rel, column));
        }
        let modulus = known.placement(table.group_id).unwrap_or_default().len();
        let query = format!(
            "SELECT ROW(m.node_id, n.nspname, c.relname,
                        CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'f' THEN 'shardman_data' END,
                        CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'f' THEN c.relname END)
                    ::shardman.get_partition_for_value_type
             FROM pg_catalog.generate_series(0, {modulus} - 1) AS p(pnum)
                  JOIN shardman.placement AS m ON m.group_id OPERATOR(pg_catalog.=) {group}
                       AND m.pnum OPERATOR(pg_catalog.=) p.pnum
                  JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) {rel}
                  JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
                       AND pg_catalog.right(c.relname, pg_catalog.length(p.pnum::pg_catalog.text) + 1)
                           OPERATOR(pg_catalog.=) ('_' OPERATOR(pg_catalog.||) p.pnum::pg_catalog.text)
                  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
             WHERE pg_catalog.satisfies_hash_partition({rel}, {modulus}, p.pnum{values})",
            group = table.group_id,
            rel = rel.to_u32(),
        );
        let found = one_value(&query)?;
        (*call).isnull = found.is_none();
        Ok(found.unwrap_or(pg_sys::Datum::from(0)))
    }
}

/// A value as its type prints it: it is read as the column's type.
unsafe fn print(
    call: pg_sys::FunctionCallInfo,
    at: usize,
    value: pg_sys::Datum,
) -> Result<String, Report> {
    // SAFETY: the caller's; an output function of the value's own type.
    unsafe {
        let type_oid = pg_sys::get_fn_expr_argtype((*call).flinfo, at as i32);
        if type_oid == pg_sys::InvalidOid {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_INDETERMINATE_DATATYPE,
                "could not determine the type of a value",
            ));
        }
        let (mut output, mut is_varlena) = (pg_sys::InvalidOid, false);
        pg_sys::getTypeOutputInfo(type_oid, &mut output, &mut is_varlena);
        Ok(text(pg_sys::OidOutputFunctionCall(output, value)))
    }
}

fn type_of(rel: pg_sys::Oid, column: &str) -> String {
    let column = CString::new(column).unwrap_or_default();
    // SAFETY: syscache look-ups; a palloc'd name, qualified.
    unsafe {
        let number = pg_sys::get_attnum(rel, column.as_ptr());
        let (mut type_oid, mut typmod, mut collation) =
            (pg_sys::InvalidOid, -1, pg_sys::InvalidOid);
        pg_sys::get_atttypetypmodcoll(rel, number, &mut type_oid, &mut typmod, &mut collation);
        text(pg_sys::format_type_be_qualified(type_oid))
    }
}

/// The one value of a query, in the memory of the caller.
unsafe fn one_value(query: &str) -> Result<Option<pg_sys::Datum>, Report> {
    let query = CString::new(query).unwrap_or_default();
    // Casts to the column's type run as the user: only the catalogues are ours,
    // and everybody may read those.
    // SAFETY: guarded calls in the order that SPI asks for.
    unsafe {
        pg_sys::SPI_connect();
        let done = pg_sys::SPI_execute(query.as_ptr(), true, 1);
        let mut value = None;
        if done == pg_sys::SPI_OK_SELECT as i32 && (*pg_sys::SPI_tuptable).numvals > 0 {
            let table = &*pg_sys::SPI_tuptable;
            let mut is_null = false;
            let found = pg_sys::SPI_getbinval(*table.vals, table.tupdesc, 1, &mut is_null);
            if !is_null {
                value = Some(pg_sys::SPI_datumTransfer(found, false, -1));
            }
        }
        pg_sys::SPI_finish();
        Ok(value)
    }
}
