//! CPU time of servers, from /proc.

use std::collections::HashSet;
use std::fs;

use anyhow::Context;

/// The unit of times in /proc/PID/stat; the same on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// One line of /proc/PID/stat.
struct Process {
    pid: u32,
    parent: u32,
    /// Its own, and that of its children that have ended and were waited for.
    ticks: u64,
}

/// User and system seconds of these postmasters and of all processes that they
/// ever started: PostgreSQL's backends are children of the postmaster, which
/// inherits their times when they end.
pub fn seconds_of(postmasters: &[u32]) -> anyhow::Result<f64> {
    let wanted: HashSet<u32> = postmasters.iter().copied().collect();
    let entries = fs::read_dir("/proc").context("could not read /proc")?;
    let ticks: u64 = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        // A process may end while we look; its parent then has its times.
        .filter_map(|pid| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .filter(|process| wanted.contains(&process.pid) || wanted.contains(&process.parent))
        .map(|process| process.ticks)
        .sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// User and system seconds of the programs that this one has started and waited
/// for.
pub fn seconds_of_ended_children() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("could not read /proc/self/stat")?;
    let ticks = parse_children(&stat).context("could not understand /proc/self/stat")?;
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

fn parse_children(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    fields.get(13..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

fn parse(pid: u32, stat: &str) -> Option<Process> {
    // The name of the program stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    // utime, stime, cutime, cstime are fields 14 to 17; `fields` starts at 3.
    let times = fields.get(11..15)?.iter().map(|field| field.parse::<u64>());
    let ticks = times.sum::<Result<u64, _>>().ok()?;
    Some(Process { pid, parent, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_any_name() {
        let stat = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 99 5";
        let process = parse(7, stat).map(|process| (process.parent, process.ticks));
        assert_eq!(process, Some((3, 127)));
        assert_eq!(parse_children(stat), Some(7));
    }
}
