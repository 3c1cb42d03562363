//! Keeping changes of rows and changes of their table apart.

use serde::{Deserialize, Serialize};

use crate::metadata::{DdlLog, DdlPosition, Fate, TokenId};

/// Which changes of a table's rows are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Those made on nodes that had applied this schema change.
    pub schema: DdlPosition,
    /// None, until it is known what becomes of this change.
    pub token: Option<TokenId>,
}

impl Fence {
    /// Takes in how the change ended, if it did.
    pub(super) fn settle(&mut self, ddl: &DdlLog) {
        let Some(token) = self.token else { return };
        match ddl.fate(token) {
            Fate::Open => {}
            Fate::Void => self.token = None,
            Fate::Commit(position) => {
                self.schema = self.schema.max(position);
                self.token = None;
            }
        }
    }

    /// Whether a change is accepted that was made after `schema`.
    pub(super) fn admits(&self, schema: DdlPosition) -> bool {
        self.token.is_none() && schema >= self.schema
    }
}
