//! The operating system account that runs the servers.
//!
//! PostgreSQL refuses to run as root. Run as root, shardmanctl uses the account
//! `postgres` and makes it if there is none; otherwise the caller's own.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, User, chown};

use crate::exit::Refused;

const NAME: &str = "postgres";

/// Who runs the servers and owns their files.
pub struct Account {
    user: User,
    /// We are someone else (root) and have to become this account.
    is_switched: bool,
}

impl Account {
    /// The account for servers that this process starts.
    pub fn for_servers() -> anyhow::Result<Self> {
        let me = Uid::effective();
        if !me.is_root() {
            let user = User::from_uid(me)
                .context("could not read the account database")?
                .with_context(|| format!("there is no account with the user id {me}"))?;
            return Ok(Self { user, is_switched: false });
        }
        if let Some(user) = by_name()? {
            return Ok(Self { user, is_switched: true });
        }
        create()?;
        let user = by_name()?.context("useradd made no account \"postgres\"")?;
        Ok(Self { user, is_switched: true })
    }

    /// A command that runs as this account, in `/`, without variables that
    /// would reach into a server: `PG*`, and `RUST_BACKTRACE`, under which
    /// PostgreSQL's errors would cost a backtrace each.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        for (name, _) in std::env::vars_os() {
            let is_unwanted = name.to_string_lossy().starts_with("PG");
            if is_unwanted || name == "RUST_BACKTRACE" || name == "RUST_LIB_BACKTRACE" {
                command.env_remove(name);
            }
        }
        if self.is_switched {
            // Dropping root this way also drops its supplementary groups.
            command.uid(self.user.uid.as_raw()).gid(self.user.gid.as_raw());
            command.env("HOME", &self.user.dir).env("USER", &self.user.name);
        }
        command
    }

    /// Makes this account the owner of `path`.
    pub fn own(&self, path: &Path) -> anyhow::Result<()> {
        if self.is_switched {
            chown(path, Some(self.user.uid), Some(self.user.gid))
                .with_context(|| format!("could not give {} to {NAME}", path.display()))?;
        }
        Ok(())
    }

    /// Refuses a directory that this account could not reach.
    pub fn check_reach(&self, dir: &Path) -> anyhow::Result<()> {
        if !self.is_switched {
            return Ok(());
        }
        for parent in dir.ancestors().skip(1) {
            let metadata = parent
                .metadata()
                .with_context(|| format!("could not look at {}", parent.display()))?;
            let mode = metadata.permissions().mode();
            let needed = if metadata.uid() == self.user.uid.as_raw() {
                0o100
            } else if Gid::from_raw(metadata.gid()) == self.user.gid {
                0o010
            } else {
                0o001
            };
            if mode & needed == 0 {
                bail!(Refused(format!(
                    "the account \"{NAME}\", which runs the servers, may not enter {}; choose \
                     another --dir, for example one under /var/tmp",
                    parent.display()
                )));
            }
        }
        Ok(())
    }
}

fn by_name() -> anyhow::Result<Option<User>> {
    User::from_name(NAME).context("could not read the account database")
}

fn create() -> anyhow::Result<()> {
    let made = Command::new("useradd")
        .args(["--system", "--user-group", "--no-create-home", "--shell", "/bin/sh"])
        .args(["--home-dir", "/var/lib/postgresql", NAME])
        .output()
        .context("could not run useradd to make the account \"postgres\"")?;
    if !made.status.success() {
        let reason = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        bail!("could not make the account \"{NAME}\": {reason}");
    }
    Ok(())
}
