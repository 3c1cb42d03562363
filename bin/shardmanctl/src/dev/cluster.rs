//! The directory of a development cluster, opened for one command.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::account::Account;
use super::binaries::Binaries;
use super::server::Server;
use super::state::{MARKER, Node, State};
use crate::exit::Refused;

const LOCK_FILE: &str = "dev.lock";
const LOCK_BOUND: Duration = Duration::from_secs(60);
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A cluster's directory, what is remembered in it and what it needs to run.
pub struct Cluster {
    /// Absolute, free of symbolic links.
    pub dir: PathBuf,
    pub state: State,
    pub account: Account,
    pub binaries: Binaries,
    /// Held while this value lives, by commands that change something.
    _lock: Option<File>,
}

impl Cluster {
    /// Opens an existing cluster to change it: one command at a time.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let cluster = Self::open_unlocked(dir)?;
        let lock = Some(lock(&cluster.dir)?);
        // Another command may have changed it while we waited.
        let state = State::load(&cluster.dir)?;
        Ok(Self { state, _lock: lock, ..cluster })
    }

    /// Opens an existing cluster to look at it or to signal its processes,
    /// which must be possible while another command waits for a server.
    pub fn open_unlocked(dir: &Path) -> anyhow::Result<Self> {
        let Ok(dir) = dir.canonicalize() else {
            bail!(Refused(format!("there is no development cluster in {}", dir.display())));
        };
        let state = State::load(&dir)?;
        let binaries = Binaries::find(Some(&state.pg_bindir))?;
        Ok(Self { dir, state, account: Account::for_servers()?, binaries, _lock: None })
    }

    /// Makes the directory of a new cluster; refuses one with other content.
    pub fn create(
        dir: &Path,
        binaries: Binaries,
        make_state: impl FnOnce(&Binaries) -> anyhow::Result<State>,
    ) -> anyhow::Result<Self> {
        let account = Account::for_servers()?;
        let state = make_state(&binaries)?;
        fs::create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("could not find the way to {}", dir.display()))?;
        if !is_ours_to_fill(&dir)? {
            bail!(Refused(format!(
                "{} is not empty and was not made by shardmanctl",
                dir.display()
            )));
        }
        account.check_reach(&dir)?;
        let lock = lock(&dir)?;
        account.own(&dir)?;
        let run_dir = dir.join("run");
        if !run_dir.exists() {
            fs::create_dir(&run_dir)
                .with_context(|| format!("could not make {}", run_dir.display()))?;
        }
        account.own(&run_dir)?;
        state.save(&dir)?;
        fs::write(dir.join(MARKER), "shardmanctl dev destroy may delete this directory.\n")
            .with_context(|| format!("could not write in {}", dir.display()))?;
        Ok(Self { dir, state, account, binaries, _lock: Some(lock) })
    }

    /// The server at this position.
    pub fn server<'a>(&'a self, node: &'a Node) -> Server<'a> {
        Server { account: &self.account, binaries: &self.binaries, dir: &self.dir, node }
    }

    /// The server with this number.
    pub fn server_numbered(&self, number: u16) -> anyhow::Result<Server<'_>> {
        match self.state.nodes.iter().find(|node| node.number == number) {
            Some(node) => Ok(self.server(node)),
            None => bail!(Refused(format!(
                "there is no node {number} in {}; it has {}",
                self.dir.display(),
                self.state.nodes.len()
            ))),
        }
    }

    /// initdb for those that lack it, all at the same time; remembers success.
    pub fn initialize_missing(&mut self) -> anyhow::Result<()> {
        let missing: Vec<usize> = (0..self.state.nodes.len())
            .filter(|&index| !self.state.nodes[index].is_initialized)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        // A port in use shall not cost an initdb first.
        for &index in &missing {
            self.server(&self.state.nodes[index]).check_port()?;
        }
        let nodes = missing.iter().map(|&index| &self.state.nodes[index]);
        self.at_the_same_time(nodes, |server| server.initialize(&self.state))?;
        for index in missing {
            self.state.nodes[index].is_initialized = true;
        }
        self.state.save(&self.dir)
    }

    /// Does `work` for each of `nodes` on a thread of its own; the first error wins.
    pub fn at_the_same_time<'a, T: Send>(
        &'a self,
        nodes: impl Iterator<Item = &'a Node>,
        work: impl Fn(Server<'a>) -> anyhow::Result<T> + Sync,
    ) -> anyhow::Result<Vec<T>> {
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                nodes.map(|node| scope.spawn(move || work(self.server(node)))).collect();
            // All are joined before the first error is returned.
            let results: Vec<_> = threads
                .into_iter()
                .map(|thread| match thread.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect();
            results.into_iter().collect()
        })
    }
}

/// Whether `dir` is empty, ours, or what an interrupted `create` left.
fn is_ours_to_fill(dir: &Path) -> anyhow::Result<bool> {
    if dir.join(MARKER).exists() {
        return Ok(true);
    }
    let entries = fs::read_dir(dir).with_context(|| format!("could not read {}", dir.display()))?;
    for entry in entries {
        let name = entry.with_context(|| format!("could not read {}", dir.display()))?.file_name();
        let is_of_create = ["run", "dev.json", "dev.json.new", LOCK_FILE]
            .iter()
            .any(|known| name.to_str() == Some(known));
        if !is_of_create {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits for other commands on `dir` to end; held until the file is closed.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join(LOCK_FILE);
    let file = File::create(&path).with_context(|| format!("could not make {}", path.display()))?;
    let deadline = Instant::now() + LOCK_BOUND;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_POLL);
            }
            Err(TryLockError::WouldBlock) => bail!(Refused(format!(
                "another shardmanctl dev command is at work in {}",
                dir.display()
            ))),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("could not lock {}", path.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_content_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_ours_to_fill(dir.path()).unwrap());
        fs::write(dir.path().join("dev.json"), "").unwrap();
        assert!(is_ours_to_fill(dir.path()).unwrap());
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        assert!(!is_ours_to_fill(dir.path()).unwrap());
        fs::write(dir.path().join(MARKER), "").unwrap();
        assert!(is_ours_to_fill(dir.path()).unwrap());
    }

    #[test]
    fn lock_excludes_and_is_freed() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let other = File::create(dir.path().join(LOCK_FILE)).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        assert!(other.try_lock().is_ok());
    }
}
