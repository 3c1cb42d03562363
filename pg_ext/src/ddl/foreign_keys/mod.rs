//! Foreign keys between sharded tables of one colocation group.
//!
//! Rows with equal distribution columns lie in partitions of the same number,
//! and those on one node. So each real leaf has a plain foreign key to the real
//! leaf of the same number, and PostgreSQL itself checks and acts where the rows
//! are (`leaves.rs`). The parent has a constraint of its own, for `\d`,
//! `information_schema` and DROP CONSTRAINT; it is made by PostgreSQL while the
//! leaves of both tables are hidden, and loses its triggers (`add.rs`). The
//! leaves' constraints depend on it, so that they go with it.
//!
//! FOREIGN KEY clauses are taken out of CREATE TABLE and ALTER TABLE
//! (`taken.rs`): they come last, when the tables and their leaves are there.

mod add;
mod around_type;
mod checks;
mod follow;
mod leaves;
mod taken;

pub use add::{add, add_defined, add_defined_everywhere, drop_named};
pub use around_type::drop_around_type_change;
pub use checks::{referencing_tables, refuse_moves, refuse_reference_from_outside};
pub use follow::follow;
pub use leaves::enforce_from_now_on;
pub use taken::{LeftOut, Taken, are_left_out, take_from_alter, take_from_create};
