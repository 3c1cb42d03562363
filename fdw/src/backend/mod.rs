//! Small safe-looking views of PostgreSQL's data: lists, strings, memory,
//! attributes. No decisions here.

mod attributes;
mod interrupts;
mod lists;
mod memory;
mod strings;
mod tuples;

pub use attributes::{Attribute, attributes};
pub use interrupts::{check_for_interrupts, interrupts_would_be_processed};
pub use lists::{cells, int_list, ints, oids};
pub use memory::{ContextGuard, tuple_context};
pub use strings::{
    bytes_of, c_string_node, name_of, quote_identifier, quote_literal, quote_literal_bytes,
    string_node, text_of,
};
pub use tuples::form_tuple;
