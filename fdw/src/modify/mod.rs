//! INSERT, UPDATE, DELETE, COPY FROM and TRUNCATE of foreign tables.

mod buffer;
mod callbacks;
mod columns;
mod conflict;
mod copy;
mod direct;
mod direct_plan;
mod explain;
mod insert;
mod moving;
mod plan;
mod private;
mod returning;
mod state;
mod truncate;
mod update;

pub use callbacks::{
    batch_insert, batch_size, begin_insert, begin_modify, delete, end_insert, end_modify, insert,
    update,
};
pub use direct::iterate_direct;
pub use direct_plan::plan_direct;
pub use explain::explain_modify;
pub use plan::{add_update_targets, is_updatable, plan_modify};
pub use truncate::truncate;
