//! The wrapper's options: one table, its validator, and what servers, mappings
//! and tables say.

mod connection;
mod lookup;
mod table;
mod validator;

pub use connection::connection;
pub use lookup::{OptionList, column_name, server_options, table_options};
pub use table::{Carrier, OPTIONS};
pub use validator::{parse_bool, spec, validate_options};
