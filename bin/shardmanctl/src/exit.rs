//! Which exit code a failure ends in. The numbers are documented in `--help`
//! and do not change: scripts rely on them.

use std::fmt;

/// Shown at the end of `--help`.
pub const HELP: &str = "Exit codes:
  0  done
  1  failed: something that should work did not; the message says what
  2  usage: the arguments make no sense
  3  could not connect to the node that was named
  4  refused: the state of the node or of the directory does not allow it
     (not a member of a cluster, not a directory of shardmanctl, port in use, …)";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const CANNOT_CONNECT: u8 = 3;
const REFUSED: u8 = 4;

/// An argument that clap accepted and that makes no sense all the same.
#[derive(Debug)]
pub struct BadUsage(pub String);

/// The node that the command was to talk to did not answer.
#[derive(Debug)]
pub struct CannotConnect(pub String);

/// The state of a node, a directory or the machine does not allow the command.
#[derive(Debug)]
pub struct Refused(pub String);

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CannotConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUsage {}
impl std::error::Error for CannotConnect {}
impl std::error::Error for Refused {}

/// The exit code for a failure: an error that is none of the above is 1.
pub fn code_of(error: &anyhow::Error) -> u8 {
    // Finds the kind under any context, and as a context.
    if error.is::<BadUsage>() {
        USAGE
    } else if error.is::<CannotConnect>() {
        CANNOT_CONNECT
    } else if error.is::<Refused>() {
        REFUSED
    } else {
        FAILED
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn kind_of_failure_survives_added_context() {
        let refused = Err::<(), _>(Refused("no".into())).context("while doing something");
        assert_eq!(code_of(&refused.unwrap_err()), REFUSED);
        let lost = Err::<(), _>(anyhow::Error::from(CannotConnect("gone".into()))).context("x");
        assert_eq!(code_of(&lost.unwrap_err()), CANNOT_CONNECT);
        let explained = anyhow::anyhow!("details").context(Refused("no".into())).context("x");
        assert_eq!(code_of(&explained), REFUSED);
    }

    #[test]
    fn unknown_failure_is_one() {
        assert_eq!(code_of(&anyhow::anyhow!("boom")), FAILED);
    }
}
