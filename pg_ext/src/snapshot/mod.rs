//! One snapshot of the whole cluster for REPEATABLE READ, and the refusals where
//! an isolation level cannot be kept over several nodes.

mod check;
mod current;
mod local_use;
mod take;

pub use check::{allowing_ddl, check_access, check_import, init};
pub use current::{is_of_the_cluster, isolation, joins_the_cluster};
pub use take::{after_setting, is_wanted};
