//! A server process that stands still.

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Stopped until it is resumed or this value is dropped.
pub struct PausedProcess(Pid);

impl PausedProcess {
    /// Stops the process with this id, as `pg_stat_activity` shows it.
    pub fn stop(pid: &str) -> anyhow::Result<Self> {
        let pid = Pid::from_raw(pid.parse().context("not a process id")?);
        kill(pid, Signal::SIGSTOP).with_context(|| format!("could not stop process {pid}"))?;
        Ok(Self(pid))
    }

    /// Lets it go on.
    pub fn resume(self) {}
}

impl Drop for PausedProcess {
    fn drop(&mut self) {
        // It may have ended meanwhile.
        kill(self.0, Signal::SIGCONT).ok();
    }
}
