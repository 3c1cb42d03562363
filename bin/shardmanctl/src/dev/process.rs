//! The processes of one server: finding, freezing and killing them.
//!
//! A process belongs to a server if it runs `postgres` in the server's data
//! directory (it goes there and stays) or if a process that belongs to it
//! started it. A pid file alone would not do: pids are used again, and a
//! killed postmaster leaves children behind.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Between two looks at /proc, which has no event to wait for.
const POLL: Duration = Duration::from_millis(10);
/// For processes to stop or vanish after a signal that they cannot refuse.
const SIGNAL_BOUND: Duration = Duration::from_secs(20);

/// One process at one moment.
#[derive(Clone, Debug)]
struct Process {
    pid: i32,
    parent: i32,
    /// The letter in /proc: `T` is stopped by a signal, `Z` is dead.
    state: char,
    /// Tells a process from a later one with the same pid.
    start_time: u64,
}

/// What a server's processes are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    Running,
    /// All of them stopped by a signal.
    Paused,
    /// No process.
    Stopped,
    /// No postmaster, but children that it left.
    Orphaned,
}

/// The processes of the server whose data directory this is.
pub struct Processes {
    data_dir: PathBuf,
}

impl Processes {
    /// `data_dir` must be absolute and free of symbolic links.
    pub fn of(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_path_buf() }
    }

    /// What they are doing now.
    pub fn activity(&self) -> anyhow::Result<Activity> {
        let processes = self.list()?;
        if processes.is_empty() {
            return Ok(Activity::Stopped);
        }
        if self.postmaster(&processes).is_none() {
            return Ok(Activity::Orphaned);
        }
        let is_paused = processes.iter().all(|process| process.state == 'T');
        Ok(if is_paused { Activity::Paused } else { Activity::Running })
    }

    /// SIGSTOP for all: the postmaster first, so that no new child escapes.
    /// Returns how many there are.
    pub fn freeze(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + SIGNAL_BOUND;
        if let Some(postmaster) = self.postmaster(&self.list()?) {
            send(&postmaster, Signal::SIGSTOP)?;
        }
        loop {
            let processes = self.list()?;
            let moving: Vec<_> = processes.iter().filter(|process| process.state != 'T').collect();
            if moving.is_empty() {
                return Ok(processes.len());
            }
            for process in moving {
                send(process, Signal::SIGSTOP)?;
            }
            self.pace(deadline, "stop")?;
        }
    }

    /// SIGCONT for all: the postmaster last, so that it finds its children alive.
    pub fn thaw(&self) -> anyhow::Result<usize> {
        let processes = self.list()?;
        let postmaster = self.postmaster(&processes).map(|process| process.pid);
        for process in processes.iter().filter(|process| Some(process.pid) != postmaster) {
            send(process, Signal::SIGCONT)?;
        }
        for process in processes.iter().filter(|process| Some(process.pid) == postmaster) {
            send(process, Signal::SIGCONT)?;
        }
        Ok(processes.len())
    }

    /// SIGKILL for all at once, as a crash of the machine would; returns when
    /// they are gone. The number is that of the processes found.
    pub fn kill(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + SIGNAL_BOUND;
        // Frozen first: none of them sees another one die.
        let count = self.freeze()?;
        let mut doomed: Vec<Process> = Vec::new();
        loop {
            // One that is on its way out is no longer found by its program and
            // directory, but may hold its sockets still: remember it.
            for process in self.list()? {
                send(&process, Signal::SIGKILL)?;
                if !doomed.iter().any(|known| known.pid == process.pid) {
                    doomed.push(process);
                }
            }
            if !doomed.iter().any(is_alive) {
                break;
            }
            self.pace(deadline, "die")?;
        }
        Ok(count)
    }

    /// Removes `lock_file` if the process it names is dead and nobody has
    /// waited for it: PostgreSQL would take that for a running server. It
    /// happens where process 1 does not collect orphans, as in some containers.
    pub fn forget_zombie(lock_file: &Path) -> anyhow::Result<()> {
        let is_zombie =
            pid_in(lock_file).and_then(read_process).is_some_and(|process| is_dead(&process));
        if is_zombie {
            fs::remove_file(lock_file)
                .with_context(|| format!("could not remove {}", lock_file.display()))?;
        }
        Ok(())
    }

    fn pace(&self, deadline: Instant, verb: &str) -> anyhow::Result<()> {
        if Instant::now() > deadline {
            bail!(
                "processes of {} did not {verb} within {} s",
                self.data_dir.display(),
                SIGNAL_BOUND.as_secs()
            );
        }
        std::thread::sleep(POLL);
        Ok(())
    }

    fn postmaster(&self, processes: &[Process]) -> Option<Process> {
        let recorded = pid_in(&self.data_dir.join("postmaster.pid"))?;
        processes.iter().find(|process| process.pid == recorded).cloned()
    }

    /// Not just anything that works in the data directory: an operator's shell
    /// may stand there, and must survive.
    fn is_postgres_here(&self, pid: i32) -> bool {
        let is_here = fs::read_link(format!("/proc/{pid}/cwd"))
            .is_ok_and(|directory| directory == self.data_dir);
        // " (deleted)" follows the name after an upgrade.
        is_here
            && fs::read_link(format!("/proc/{pid}/exe"))
                .ok()
                .and_then(|path| Some(path.file_name()?.to_str()?.starts_with("postgres")))
                .unwrap_or(false)
    }

    /// The living processes of this server.
    fn list(&self) -> anyhow::Result<Vec<Process>> {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc").context("could not read /proc")? {
            let name = entry.context("could not read /proc")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that ended meanwhile is no error.
            all.extend(read_process(pid).filter(|process| !is_dead(process)));
        }
        let in_data_dir: HashSet<i32> = all
            .iter()
            .map(|process| process.pid)
            .filter(|&pid| self.is_postgres_here(pid))
            .collect();
        Ok(with_descendants(all, in_data_dir))
    }
}

/// Those of `all` that are in `roots` or descend from one that is.
fn with_descendants(mut all: Vec<Process>, mut members: HashSet<i32>) -> Vec<Process> {
    loop {
        let before = members.len();
        for process in &all {
            if members.contains(&process.parent) {
                members.insert(process.pid);
            }
        }
        if members.len() == before {
            break;
        }
    }
    all.retain(|process| members.contains(&process.pid));
    all
}

/// The process that a lock file of PostgreSQL names, in its first line.
fn pid_in(lock_file: &Path) -> Option<i32> {
    fs::read_to_string(lock_file).ok()?.lines().next()?.trim().parse().ok()
}

fn is_dead(process: &Process) -> bool {
    matches!(process.state, 'Z' | 'X' | 'x')
}

fn read_process(pid: i32) -> Option<Process> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `/proc/PID/stat`; the second field may hold spaces and parentheses.
fn parse_stat(pid: i32, stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Process {
        pid,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        // Field 22 of proc(5), and the first of `fields` is the third.
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// Whether this very process, not a later one with its pid, is there.
fn is_alive(process: &Process) -> bool {
    read_process(process.pid)
        .is_some_and(|now| now.start_time == process.start_time && !is_dead(&now))
}

/// Sends `signal` unless the process has ended meanwhile.
fn send(process: &Process, signal: Signal) -> anyhow::Result<()> {
    if !is_alive(process) {
        return Ok(());
    }
    match kill(Pid::from_raw(process.pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error)
            .with_context(|| format!("could not send {signal} to process {}", process.pid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        Process { pid, parent, state: 'S', start_time: 1 }
    }

    #[test]
    fn names_with_parentheses_do_not_shift_fields() {
        let stat = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 1";
        let process = parse_stat(42, stat).unwrap();
        assert_eq!((process.parent, process.state, process.start_time), (7, 'S', 987));
    }

    #[test]
    fn descendants_are_found_in_any_order() {
        let all = vec![process(30, 20), process(10, 1), process(20, 10), process(5, 1)];
        let mut pids: Vec<i32> =
            with_descendants(all, HashSet::from([10])).iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [10, 20, 30]);
    }

    #[test]
    fn a_directory_nobody_works_in_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let processes = Processes::of(dir.path());
        assert_eq!(processes.activity().unwrap(), Activity::Stopped);
        assert_eq!(processes.kill().unwrap(), 0);
    }
}
