//! How row logs stand: what `shardman.logs` is made of.

use cluster::NodeId;
use cluster::row_log::{RowLogId, RowLogPosition, RowLogs};
use serde::{Deserialize, Serialize};

/// All row logs, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLogsView {
    /// One for each.
    pub logs: Vec<RowLogView>,
}

/// One row log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLogView {
    /// Its id.
    pub id: RowLogId,
    /// Its name.
    pub name: String,
    /// Its last entry.
    pub tail: RowLogPosition,
    /// Entries up to here are gone.
    pub truncated: RowLogPosition,
    /// How far members have told that they are.
    pub applied: Vec<(NodeId, RowLogPosition)>,
    /// Why members do not go on.
    pub troubles: Vec<(NodeId, String)>,
}

impl RowLogsView {
    /// Of all row logs, without their entries.
    pub(crate) fn of(logs: &RowLogs) -> Self {
        let logs = logs.all().map(|(id, log)| RowLogView {
            id,
            name: log.name().to_owned(),
            tail: log.tail(),
            truncated: log.truncated(),
            applied: log.all_applied().collect(),
            troubles: log.troubles().map(|(node, why)| (node, why.to_owned())).collect(),
        });
        RowLogsView { logs: logs.collect() }
    }

    /// The log of that name.
    pub fn named(&self, name: &str) -> Option<&RowLogView> {
        self.logs.iter().find(|log| log.name == name)
    }
}
