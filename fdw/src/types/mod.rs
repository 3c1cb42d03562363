//! Values on the wire: binary for built-in types, text for the rest.

mod encoding;
mod format;
mod reader;
mod row;
mod transmission;
mod writer;

pub use encoding::EncodingGuard;
pub use format::{Format, is_builtin, wire_format};
pub use reader::ColumnReader;
pub use row::RowReader;
pub use transmission::TransmissionModes;
pub use writer::ParameterWriter;
