//! Moving partitions: what to move where, in which steps, and what the changes
//! that happen meanwhile mean for the copy.

mod campaign;
mod change;
mod changes_as_sql;
mod copied;
mod plan;
mod relocation;
mod step;
mod work;

pub use campaign::{Campaign, CampaignStep};
pub use change::{Change, Malformed, Relation, Tuple, Value, decode};
pub use changes_as_sql::{ChangesAsSql, Statement};
pub use copied::CopiedSnapshot;
pub use plan::{Balance, Group, PlannedMove, choose_next, plan};
pub use relocation::{Lsn, Relocation};
pub use step::{Observed, ObservedDestination, ObservedSource, Step, next_step};
pub use work::{CaughtUp, Index, LeafDescription, MoveCommand, MoveWork, SourceDescription};
