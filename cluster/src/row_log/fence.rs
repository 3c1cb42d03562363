//! Keeping changes of rows and changes of their table apart.

use serde::{Deserialize, Serialize};

use super::RowEntryKind;
use crate::metadata::{DdlLog, Fate, TokenId};

/// Which changes of a table's rows are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Those made to the table as the change of the schema under this token has
    /// left it; zero as it was made.
    pub shape: TokenId,
    /// None, until it is known what becomes of this change; but for those of the
    /// very transaction, which come about with it.
    pub token: Option<TokenId>,
}

impl Fence {
    /// Takes in how the change ended, if it did.
    pub(super) fn settle(&mut self, ddl: &DdlLog) {
        let Some(token) = self.token else { return };
        match ddl.fate(token) {
            Fate::Open => {}
            Fate::Void => self.token = None,
            Fate::Commit(_) => {
                self.shape = token;
                self.token = None;
            }
        }
    }

    /// Whether changes are accepted that were made to the table of this shape.
    pub(super) fn admits(&self, shape: TokenId, kind: RowEntryKind) -> bool {
        match self.token {
            None => shape == self.shape,
            Some(token) => shape == token && kind == RowEntryKind::Intent,
        }
    }
}
