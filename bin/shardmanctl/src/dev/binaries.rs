//! Where PostgreSQL's programs are, and that they are of the right version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::exit::Refused;

/// The PostgreSQL major version that the extension is built for.
const MAJOR: u32 = 15;
const DEBIAN_BINDIR: &str = "/usr/lib/postgresql/15/bin";

/// A directory with `initdb`, `pg_ctl` and `postgres`.
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// `named` if given, else what pg_config says, else Debian's place.
    pub fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        let dir = match named {
            Some(dir) => dir.to_path_buf(),
            None => from_pg_config().unwrap_or_else(|| PathBuf::from(DEBIAN_BINDIR)),
        };
        let binaries = Self { dir };
        for program in ["initdb", "pg_ctl", "postgres"] {
            if !binaries.program(program).is_file() {
                bail!(Refused(format!(
                    "there is no {program} in {}; install postgresql-{MAJOR} (bin/setup does) or \
                     name the directory with --pg-bindir or SHARDMAN_PG_BINDIR",
                    binaries.dir.display()
                )));
            }
        }
        let major = binaries.major_version()?;
        if major != MAJOR {
            bail!(Refused(format!(
                "{} has PostgreSQL {major}; shardman needs PostgreSQL {MAJOR}: name another \
                 directory with --pg-bindir or SHARDMAN_PG_BINDIR",
                binaries.dir.display()
            )));
        }
        Ok(binaries)
    }

    /// The path of one program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn major_version(&self) -> anyhow::Result<u32> {
        let output = Command::new(self.program("postgres"))
            .arg("--version")
            .output()
            .context("could not run postgres --version")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        parse_major(&text).with_context(|| format!("could not read a version from \"{text}\""))
    }
}

fn from_pg_config() -> Option<PathBuf> {
    let program = std::env::var_os("SHARDMAN_PG_CONFIG").unwrap_or_else(|| "pg_config".into());
    let output = Command::new(program).arg("--bindir").output().ok()?;
    let dir = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    dir.join("postgres").is_file().then_some(dir)
}

/// The major version in `postgres (PostgreSQL) 15.20 (Debian …)`.
fn parse_major(text: &str) -> Option<u32> {
    let version =
        text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_numeric()))?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_version_is_read_from_releases_and_betas() {
        let debian = "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)";
        assert_eq!(parse_major(debian), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("nothing"), None);
    }
}
