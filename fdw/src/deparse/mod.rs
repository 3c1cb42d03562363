//! Remote SQL. Conditions are printed by PostgreSQL itself; the fixed shapes of
//! modifications are written out.

mod grouped;
mod leaf_schema;
mod modify;
mod parameters;
mod select;

pub use grouped::{Grouped, grouped_statement, state_function};
pub use modify::{delete_statement, insert_statement, truncate_statement, update_statement};
pub use parameters::Parameters;
pub use select::{RowLock, Select, select_statement};
