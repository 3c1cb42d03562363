//! Does an expression mean the same on the other side? Decides mutability,
//! types, functions, operators and collations; where a relation lives is
//! `placement`'s question.

mod aggregate;
mod collation;
mod extensions;
mod walker;

pub use aggregate::{StateForm, state_form};

pub use walker::{
    NotShippable, is_comparable, is_shippable, is_shippable_grouped, is_shippable_query,
    is_shippable_with_outer,
};
