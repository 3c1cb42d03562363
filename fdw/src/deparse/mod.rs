//! Remote SQL. Conditions are printed by PostgreSQL itself; the fixed shapes of
//! modifications are written out.

mod conflict;
mod direct;
mod from;
mod leaf_schema;
mod modify;
mod order;
mod parameters;
mod printer;
mod query;
mod select;

pub use conflict::{OnConflict, conflict_clause};
pub use direct::{Direct, direct_statement};
pub use from::{Condition, From, JoinKind};
pub use leaf_schema::at_owner;
pub use modify::{
    copy_statement, delete_statement, insert_statement, truncate_statement, update_statement,
};
pub use order::{SortKey, limit_clause};
pub use parameters::Parameters;
pub use query::{RemoteQuery, query_statement, state_function};
pub use select::{RowLock, Select, select_statement};
