//! Moving partitions between nodes while they are in use.
//!
//! The driver (`driver`) asks what is there, has the source and the destination
//! do the next step (`work`), and at last runs the switch (`switch`), one
//! distributed transaction over all nodes.

mod catch_up;
mod copy;
mod destination;
mod driver;
mod leaves;
mod lost;
mod obstacles;
mod old_snapshots;
mod refuse;
mod row_triggers;
mod source;
mod sql;
mod switch;
mod wanted;
mod work;

pub use driver::Driver;
pub use lost::apply as recreate_partition;
pub use old_snapshots::{check_snapshot, may_be_old};
pub use refuse::{not_while_moving, tables_not_while_moving};
pub use sql::rebalance_all;
pub use switch::apply;
pub use wanted::{Wanted, part_name, plan_moves};
pub use work::is_mover;
