//! Remote transactions: one session per backend and endpoint, its transaction
//! following the local one through savepoints to one- or two-phase commit.

mod api;
mod callbacks;
mod commit;
mod copy_in;
mod copy_out;
mod definitions;
mod dialog;
mod everywhere;
mod exchange;
mod flight;
mod idle;
mod opening;
mod properties;
mod registry;
#[allow(clippy::module_inception)]
mod session;
mod slot;
mod statements;
mod subtransaction;
mod target;

pub use api::{
    OpenSession, Remote, disconnect, execute_on_all, for_node, open_sessions, unreachable,
};
pub use callbacks::init;
pub use copy_out::CopyOut;
pub(crate) use definitions::note as note_relations;
pub use dialog::Dialog;
pub use everywhere::{Call, Calling, Everywhere};
pub(crate) use exchange::{collect, forget_portal};
pub(crate) use flight::{Errand, is_a_cursors, is_whole_transaction, reads_alone};
pub use idle::IDLE_TIMEOUT;
pub use opening::Login;
pub use properties::default_opening_statement;
pub use registry::node_participants;
pub(crate) use registry::{acquire, announce, open_announced};
pub use session::RESERVED;
pub(crate) use session::{Request, Session};
pub(crate) use slot::Slot;
pub(crate) use statements::Statement;
pub(crate) use target::Target;
