//! Who runs PostgreSQL's programs: `postgres` if we are root, else ourselves.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use nix::unistd::{Uid, User, chown};

/// The account that must own files of PostgreSQL's programs, if not ours.
fn other() -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = User::from_name("postgres").context("could not read the account database")?;
    Ok(Some(user.context("there is no account \"postgres\"; bin/setup makes it")?))
}

/// Makes `command` run as that account.
pub fn switch(command: &mut Command) -> anyhow::Result<()> {
    if let Some(user) = other()? {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        command.env("HOME", user.dir).env("USER", user.name);
    }
    Ok(())
}

/// Gives `path` and everything in it to that account.
pub fn own(path: &Path) -> anyhow::Result<()> {
    let Some(user) = other()? else { return Ok(()) };
    own_as(path, &user)
}

fn own_as(path: &Path, user: &User) -> anyhow::Result<()> {
    chown(path, Some(user.uid), Some(user.gid))
        .with_context(|| format!("could not give {} to postgres", path.display()))?;
    if path.is_dir() {
        for entry in path.read_dir()? {
            own_as(&entry?.path(), user)?;
        }
    }
    Ok(())
}
