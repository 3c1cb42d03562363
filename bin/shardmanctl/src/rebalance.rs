//! `shardmanctl rebalance` and `shardmanctl nodes drain`: a job, and how far its
//! moves are.

use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use crate::cli::{DrainArguments, RebalanceArguments};
use crate::connect;
use crate::exit::Refused;
use crate::inspect::{Member, open};
use crate::output::{Output, table};

/// Between two looks at the moves.
const PERIOD: Duration = Duration::from_secs(1);
/// Characters of a progress bar.
const BAR: usize = 30;

/// What would move.
#[derive(Serialize)]
struct PlannedMove {
    part_name: String,
    source: i32,
    destination: i32,
    bytes: i64,
    reason: String,
}

/// How a job ended, or that it was begun.
#[derive(Serialize)]
struct JobState {
    job: i64,
    status: String,
    message: String,
}

/// `rebalance`.
pub fn rebalance(arguments: &RebalanceArguments, output: Output) -> anyhow::Result<()> {
    let table = arguments.table.as_deref().map_or("NULL".into(), literal);
    let by = if arguments.by_size { "'size'" } else { "'count'" };
    connect::runtime()?.block_on(async {
        let member = open(&arguments.target).await?;
        if arguments.dry_run {
            return show_plan(&member, &table, by, output).await;
        }
        let statement = format!("SELECT shardman.rebalance({table}, {by})");
        let job = member.one(&statement).await?.try_get(0)?;
        begun(&member, job, arguments.watch, output).await
    })
}

/// `nodes drain`.
pub fn drain(arguments: &DrainArguments, output: Output) -> anyhow::Result<()> {
    connect::runtime()?.block_on(async {
        let member = open(&arguments.target).await?;
        let statement = format!("SELECT shardman.drain_node({})", arguments.id);
        let job = member.one(&statement).await?.try_get(0)?;
        begun(&member, job, arguments.watch, output).await
    })
}

async fn show_plan(member: &Member, of: &str, by: &str, output: Output) -> anyhow::Result<()> {
    let mut moves = Vec::new();
    let statement = format!(
        "SELECT part_name, source, destination, bytes, reason FROM shardman.rebalance_plan({of}, {by})"
    );
    for row in member.rows(&statement).await? {
        moves.push(PlannedMove {
            part_name: row.try_get(0)?,
            source: row.try_get(1)?,
            destination: row.try_get(2)?,
            bytes: row.try_get(3)?,
            reason: row.try_get(4)?,
        });
    }
    output.print(&moves, |moves| {
        if moves.is_empty() {
            return "nothing to move".to_owned();
        }
        let mut rows = table(&["partition", "from", "to", "bytes", "reason"]);
        for one in moves {
            rows.add_row([
                one.part_name.clone(),
                one.source.to_string(),
                one.destination.to_string(),
                one.bytes.to_string(),
                one.reason.clone(),
            ]);
        }
        rows.to_string()
    })
}

async fn begun(member: &Member, job: i64, watch: bool, output: Output) -> anyhow::Result<()> {
    let mut state = state_of(member, job).await?;
    let mut shown = Vec::new();
    while watch && ["waiting", "in progress"].contains(&state.status.as_str()) {
        for line in progress(member).await? {
            if !shown.contains(&line) {
                output.progress(&line);
                shown.push(line);
            }
        }
        tokio::time::sleep(PERIOD).await;
        state = state_of(member, job).await?;
    }
    // "done" is what it says when something was left out.
    let has_failed = ["failed", "canceled", "done"].contains(&state.status.as_str());
    let line = format!("job {}: {} {}", state.job, state.status, state.message);
    output.print(&state, |_| line.clone())?;
    if has_failed {
        bail!(Refused(line));
    }
    Ok(())
}

async fn state_of(member: &Member, job: i64) -> anyhow::Result<JobState> {
    let statement =
        format!("SELECT status, coalesce(message, '') FROM shardman.cmd_log WHERE id = {job}");
    let row = member.one(&statement).await?;
    Ok(JobState { job, status: row.try_get(0)?, message: row.try_get(1)? })
}

/// A line for each move that is going on.
async fn progress(member: &Member) -> anyhow::Result<Vec<String>> {
    let rows = member
        .rows(
            "SELECT coalesce(m.part_names[1]::text, ''), m.source, m.destination, m.phase,
                    coalesce(m.bytes_copied, 0), coalesce(m.bytes_total, 0), coalesce(j.message, '')
             FROM shardman.stat_progress_move AS m
                  LEFT JOIN shardman.cmd_log AS j ON j.id = m.job_id
             ORDER BY m.job_id",
        )
        .await?;
    let mut lines = Vec::new();
    for row in rows {
        let (copied, total): (i64, i64) = (row.try_get(4)?, row.try_get(5)?);
        // Who is in the way, if somebody is.
        let message: String = row.try_get(6)?;
        let separator = if message.is_empty() { "" } else { ": " };
        lines.push(format!(
            "{} {} {} -> {}: {}{separator}{message}",
            bar(copied, total),
            row.try_get::<_, String>(0)?,
            row.try_get::<_, i32>(1)?,
            row.try_get::<_, i32>(2)?,
            row.try_get::<_, String>(3)?,
        ));
    }
    Ok(lines)
}

fn bar(copied: i64, total: i64) -> String {
    let share = if total > 0 { (copied as f64 / total as f64).clamp(0.0, 1.0) } else { 0.0 };
    let filled = (share * BAR as f64) as usize;
    format!("[{}{}] {:3.0} %", "#".repeat(filled), " ".repeat(BAR - filled), share * 100.0)
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_whatever_was_copied() {
        assert_eq!(bar(0, 0), format!("[{}]   0 %", " ".repeat(30)));
        assert_eq!(bar(5, 10), format!("[{}{}]  50 %", "#".repeat(15), " ".repeat(15)));
        assert_eq!(bar(12, 10), format!("[{}] 100 %", "#".repeat(30)));
    }

    #[test]
    fn names_cannot_end_their_literal() {
        assert_eq!(literal(r"a'b\"), r"E'a''b\\'");
    }
}
