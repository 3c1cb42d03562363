//! Waiting for a state that nothing announces.

use std::time::{Duration, Instant};

use anyhow::bail;

const POLL: Duration = Duration::from_millis(50);

/// What `look` finds, as soon as it finds something; an error after `bound`
/// that names `what` and tells the last failure. A failure of `look` is taken
/// as "not yet": servers come and go in these tests.
pub fn eventually<T>(
    what: &str,
    bound: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        let last = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() > bound {
            match last {
                Some(error) => bail!("not within {} s: {what}: {error:#}", bound.as_secs()),
                None => bail!("not within {} s: {what}", bound.as_secs()),
            }
        }
        std::thread::sleep(POLL);
    }
}
