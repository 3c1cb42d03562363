//! What came back for one request.

use super::RowBuffer;
use crate::error::RemoteError;

/// Everything between a request and its ReadyForQuery.
#[derive(Default)]
pub struct Reply {
    /// Rows, of all statements of the request.
    pub rows: RowBuffer,
    /// The last statement's command tag, e.g. `UPDATE 1`.
    pub tag: Option<String>,
    /// The portal has more rows.
    pub suspended: bool,
    /// ParseComplete was seen.
    pub parsed: bool,
    /// BindComplete was seen.
    pub bound: bool,
    /// The first error.
    pub error: Option<RemoteError>,
}

impl Reply {
    /// The number at the end of the command tag: rows affected.
    pub fn affected(&self) -> u64 {
        let last = self.tag.as_deref().and_then(|t| t.rsplit(' ').next());
        last.and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}
