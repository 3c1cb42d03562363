//! Schema changes: which statements reach which nodes, and what carries a
//! user's statement there.

mod carried;
mod coverage;
mod maintenance;
mod password;

pub use carried::{CarriedStatement, ForeignLeaves};
pub use coverage::{COVERAGE, Coverage, Elsewhere, OnSharded, coverage_of, print_coverage};
pub use maintenance::Maintenance;
pub use password::replace_password;
