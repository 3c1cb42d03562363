//! Managed DDL: what a user's statement about sharded tables does on every
//! node, and what is refused.
//!
//! A statement runs in three steps: `before` (checks, DDL lock, a rewritten
//! copy), PostgreSQL's own execution here, `Finish` (leaves, registration, and
//! the same on all other nodes inside the user's transaction).

mod add_serial;
mod align;
mod alter_table;
mod aside;
mod before;
mod broadcast;
mod carry;
mod concurrently;
mod create_index;
mod create_table;
mod deferral;
mod distribute;
mod drop;
mod fences;
mod flip;
mod foreign_keys;
mod generated;
mod hide;
mod key_types;
mod leaves;
mod maintenance;
mod managed_role;
mod meaning;
mod own_work;
mod receive;
mod repair;
mod requested;
mod restoring;
mod role_password;
mod row_dependence;
mod schema_rights;
mod sequences;
mod step;
mod storage;
mod table_kind;
mod tablespace;
mod target;
mod temporary;
mod truncate;
mod unique_keys;

pub use crate::schema_change::lock_ddl;
pub use add_serial::is_serial;
pub use before::before_utility;
use broadcast::is_broadcasting;
pub use drop::before_drop;
pub use fences::{is_leaf_schema, leaf_by_hand, relation_of};
pub use flip::Flip;
pub use foreign_keys::{enforce_from_now_on, refuse_moves, refuse_reference_from_outside};
pub use leaves::{attach, create_from_definition};
pub use own_work::OwnWork;
pub use sequences::register_owned as register_owned_sequences;
pub use step::{Finish, Received, Step};
pub use table_kind::REPLICATED;
