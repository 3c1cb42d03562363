//! The router: point statements, planned without PostgreSQL's partition planner.
//!
//! If each sharded table of a statement is fixed to one value of its distribution
//! columns, all its rows are in one partition, and the statement means the same
//! when it names that leaf. The plan is one custom scan over the parent's range
//! table entry; which leaf it is follows from the parameters when it runs, so the
//! plan may be kept, takes one lock, and costs the same for any number of
//! partitions. On another node the whole statement is run there; on this one it is
//! planned for the leaf and run by the executor.
//!
//! Whatever is not proven to mean the same is left to the present planning: the
//! reasons are refusals.
//!
//! Planning: `plan` asks `decision`, which asks in turn `shape` for what a statement
//! consists of (`levels` are its queries), `security` for row security, `column_pins`
//! and `keys` for the value that it is about, `merge` whether a MERGE can be run for
//! each partition, `writes` what it does to its target, `hoist` what is computed here,
//! and `expressions` whether the rest means the same at the leaf. The outcome is a
//! `routed` statement, kept in the plan as `private`.
//!
//! Running: `callbacks` are the executor's calls, `running` is the state behind them,
//! `leaf` puts leaves in place of tables, `local` runs the statement here, `memo` keeps
//! what the next execution can use, `statement_triggers` are fired around it.

mod callbacks;
mod column_pins;
mod columns;
mod decision;
mod explain;
mod expressions;
mod hoist;
mod keys;
mod leaf;
mod levels;
mod local;
mod memo;
mod merge;
mod partition_key;
mod plan;
mod private;
mod routed;
mod rows;
mod running;
mod security;
mod shape;
mod statement_triggers;
mod writes;

pub use callbacks::init;
pub(crate) use hoist::depends_on_rows;
pub use plan::{Planned, plan};
