//! What nodes ask about row logs.

use std::time::Duration;

use cluster::row_log::{RowLogId, RowLogPosition, RowLogs, Settled};
use tokio::time::{Instant, timeout_at};

use super::Member;
use crate::error::RaftError;
use crate::local::Response;

/// Entries of one answer, in bytes of row images, unless the first has more.
const ANSWER_BYTES: usize = 1024 * 1024;
const ANSWER_ENTRIES: usize = 500;
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Member {
    /// What is applied here when a majority has confirmed that this is all.
    pub(super) async fn row_log_tails(&self, deadline: Instant) -> Result<Response, RaftError> {
        self.confirm(deadline).await?;
        let tails = |logs: &RowLogs| logs.all().map(|(id, log)| (id, log.tail())).collect();
        Ok(Response::RowLogTails(self.decided.row_logs(tails)))
    }

    pub(super) async fn row_entries(
        &self,
        log: RowLogId,
        after: RowLogPosition,
        limit_ms: u64,
    ) -> Response {
        let deadline = Instant::now() + Duration::from_millis(limit_ms).min(LONGEST_WAIT);
        let mut applied = self.applied.clone();
        loop {
            applied.borrow_and_update();
            let (answer, is_news) = self.decided.row_logs(|logs| look(logs, log, after));
            if is_news || !matches!(timeout_at(deadline, applied.changed()).await, Ok(Ok(()))) {
                return answer;
            }
        }
    }
}

/// The entries behind a position, and whether there is anything to do.
fn look(logs: &RowLogs, log: RowLogId, after: RowLogPosition) -> (Response, bool) {
    let Some(log) = logs.get(log) else {
        let start = RowLogPosition::default();
        let (truncated, tail, entries) = (start, start, Vec::new());
        return (Response::RowEntries { truncated, tail, entries, is_gone: true }, true);
    };
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let mut is_news = log.truncated() > after;
    for (position, accepted) in log.after(after) {
        bytes += accepted.part.changes.0.len();
        let is_full = bytes > ANSWER_BYTES || entries.len() >= ANSWER_ENTRIES;
        if is_full && !entries.is_empty() {
            break;
        }
        entries.push((position, accepted.clone()));
        if accepted.settled == Settled::Pending {
            break;
        }
        is_news = true;
    }
    let (truncated, tail) = (log.truncated(), log.tail());
    (Response::RowEntries { truncated, tail, entries, is_gone: false }, is_news)
}
