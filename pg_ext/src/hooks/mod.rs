//! Where PostgreSQL calls us.
//!
//! Rule one: a hook is a *plain-old frame*. Our part runs first, guarded; the
//! standard function is called raw, with nothing alive that has a destructor.
//! A guard around the standard function would turn every error of the database
//! into a Rust panic and back, and lose its constraint name, table name and
//! PL/pgSQL context on the way.
//!
//! Rule two: nothing raises where it must not: not in Drop, not in COMMIT
//! callbacks, not across a live RefCell borrow.

mod analyze;
mod copy;
mod drop_guard;
mod executor_start;
mod explain;
mod merge;
mod partial_state;
mod partitionwise;
mod planner;
mod truncate;
mod utility;

/// Installs all hooks. Called once, at load.
pub fn install() {
    analyze::install();
    drop_guard::install();
    executor_start::install();
    explain::install();
    partitionwise::init();
    planner::install();
    utility::install();
}
