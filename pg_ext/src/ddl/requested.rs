//! From a statement's option list to what it asks for, and back to SQL.
#![allow(unsafe_code)]

use cluster::sharding::{
    OptionError, Requested, StorageParameter, quote_identifier, separate_options,
};
use pgrx::prelude::*;

use crate::lists::{elements, text};
use crate::report::Report;

/// Reads a list of DefElem.
///
/// # Safety
/// `options` is NIL or a list of DefElem, as the grammar makes it for WITH.
pub unsafe fn read_options(options: *mut pg_sys::List) -> Result<Requested, Report> {
    // SAFETY: the caller's; defGetString returns a palloc'd or constant string
    // for any DefElem with an argument.
    let read = unsafe {
        elements::<pg_sys::DefElem>(options).map(|option| StorageParameter {
            namespace: (!(*option).defnamespace.is_null()).then(|| text((*option).defnamespace)),
            name: text((*option).defname),
            value: (!(*option).arg.is_null()).then(|| text(pg_sys::defGetString(option))),
        })
    };
    separate_options(read).map_err(Report::from)
}

/// `fillfactor='70'`: the parameter as an element of another WITH list.
pub fn print_parameter(parameter: &StorageParameter) -> String {
    let mut printed = String::new();
    if let Some(namespace) = &parameter.namespace {
        printed += &quote_identifier(namespace);
        printed += ".";
    }
    printed += &quote_identifier(&parameter.name);
    if let Some(value) = &parameter.value {
        printed += &format!(" = {}", pgrx::spi::quote_literal(value));
    }
    printed
}

impl From<OptionError> for Report {
    fn from(error: OptionError) -> Self {
        let message = error.to_string();
        let invalid = Report::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message);
        match error {
            OptionError::ColumnsMissing => invalid
                .hint("Name the distribution columns, for example WITH (distributed_by = 'id')."),
            OptionError::Malformed { option: "colocate_with", reason, .. } => invalid
                .detail(format!("The value is not the name of a table: {reason}."))
                .hint("Write colocate_with = 'table' or colocate_with = 'schema.table'."),
            OptionError::Malformed { reason, .. } => invalid
                .detail(format!("The value is not a list of column names: {reason}."))
                .hint("Write distributed_by = 'column' or distributed_by = 'column, column'."),
            OptionError::DuplicateColumn(_) => {
                invalid.code(PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN)
            }
            OptionError::NumParts(_) => {
                invalid.detail("The number of partitions must be between 1 and 1024.")
            }
            OptionError::NotBoolean { .. } => {
                invalid.detail("The option takes a boolean, or no value for true.")
            }
            OptionError::LogOfNothing => invalid
                .hint("Write WITH (replicated, log = 'name'); shardman.add_log() makes a log."),
            OptionError::Both => invalid
                .code(PgSqlErrorCode::ERRCODE_SYNTAX_ERROR)
                .hint("Give either distributed_by or replicated."),
            OptionError::Duplicate(_) => invalid.code(PgSqlErrorCode::ERRCODE_SYNTAX_ERROR),
        }
    }
}
