//! Does an expression mean the same on the other side? Decides mutability,
//! types, functions, operators and collations; where a relation lives is
//! `placement`'s question.

mod collation;
mod walker;

pub use walker::{NotShippable, is_shippable};
