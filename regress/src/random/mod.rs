//! Statements from a seed, and what a cluster and one PostgreSQL make of them.
//!
//! Everything generated has one right answer: no statement depends on the order
//! in which rows or conditions are evaluated, on ties, on rounding or on time.
//!
//! - `prng`: the same numbers from a seed for ever;
//! - `values`: types and their literals;
//! - `schema`: tables and their rows;
//! - `expression`, `query`, `change`: statements as trees that can be shrunk;
//! - `generator`, `draw_expression`, `draw_change`, `draw_point`: draw them; `trial`: runs them on both sides and compares;
//! - `draw_ddl`, `draw_rows`, `twins`: the same with schema changes and what tools read of the schema;
//!   `present` and `literals`: what they draw from.

mod change;
mod draw_change;
mod draw_ddl;
mod draw_expression;
mod draw_point;
mod draw_rows;
mod expression;
mod generator;
mod literals;
mod present;
mod prng;
mod query;
mod schema;
mod trial;
mod twins;
mod values;

pub use prng::Prng;
pub use trial::{Trial, explore, explore_foreign};
pub use twins::{Tally, compare_with_plain};
