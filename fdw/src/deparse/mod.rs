//! Remote SQL. Conditions are printed by PostgreSQL itself; the fixed shapes of
//! modifications are written out.

mod direct;
mod leaf_schema;
mod modify;
mod order;
mod parameters;
mod query;
mod select;

pub use direct::{Direct, direct_statement};
pub use modify::{delete_statement, insert_statement, truncate_statement, update_statement};
pub use order::{SortKey, limit_clause};
pub use parameters::Parameters;
pub use query::{RemoteQuery, query_statement, state_function};
pub use select::{RowLock, Select, select_statement};
