//! Everything that the log has decided.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Metadata, MetadataCommand, Outcome, Refusal};
use crate::row_log::RowLogs;

/// The metadata, and row logs beside it: those change with every transaction of
/// users and hold rows, while the metadata is looked at as a whole and copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Shared with whoever looks at it.
    pub metadata: Arc<Metadata>,
    /// Not shared.
    #[serde(default)]
    pub row_logs: RowLogs,
}

impl Decided {
    /// Applies one committed entry. A refusal leaves everything as it was.
    pub fn apply(&mut self, command: MetadataCommand) -> Outcome {
        let MetadataCommand::RowLog(command) = command else {
            // Copies the metadata only if somebody holds the last state.
            let outcome = Arc::make_mut(&mut self.metadata).apply(command);
            self.row_logs.follow(&self.metadata);
            return outcome;
        };
        if self.metadata.cluster_id().is_none() {
            return Outcome::Refused(Refusal::NoCluster);
        }
        match self.row_logs.apply(command, &self.metadata) {
            Ok(None) => Outcome::Applied,
            Ok(Some(answer)) => Outcome::RowLog(answer),
            Err(refusal) => Outcome::Refused(Refusal::RowLog(refusal)),
        }
    }
}
