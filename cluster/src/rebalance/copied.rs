//! Which transactions a copy has in it already.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The snapshot that a copy was read with, as `pg_current_snapshot()` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedSnapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

/// A text that is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed snapshot")]
pub struct NoSnapshot;

impl CopiedSnapshot {
    /// Reads `xmin:xmax:xip,xip,…`.
    pub fn parse(text: &str) -> Result<Self, NoSnapshot> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| NoSnapshot);
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(NoSnapshot);
        let (xmin, xmax, running) = (number(part()?)?, number(part()?)?, part()?);
        let running = running.split(',').filter(|xid| !xid.is_empty()).map(number);
        Ok(CopiedSnapshot { xmin, xmax, running: running.collect::<Result<_, _>>()? })
    }

    /// Whether the copy has what this transaction, which has committed, wrote.
    /// Changes carry 32 bits of an id: the nearest one to the snapshot is meant.
    pub fn has(&self, xid: u32) -> bool {
        let distance = xid.wrapping_sub(self.xmax as u32) as i32;
        let Some(xid) = self.xmax.checked_add_signed(i64::from(distance)) else { return true };
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_was_over_when_it_was_read() {
        let snapshot = CopiedSnapshot::parse("10:15:10,13").unwrap();
        let had: Vec<_> = (8..18).filter(|xid| snapshot.has(*xid)).collect();
        assert_eq!(had, [8, 9, 11, 12, 14]);
        let nobody = CopiedSnapshot::parse("7:7:").unwrap();
        assert!(nobody.has(6) && !nobody.has(7));
    }

    #[test]
    fn ids_are_told_apart_across_a_wraparound() {
        let epoch = 5u64 << 32;
        let snapshot = CopiedSnapshot::parse(&format!("{}:{}:", epoch - 2, epoch + 2)).unwrap();
        assert!(snapshot.has(u32::MAX - 5));
        assert!(snapshot.has(u32::MAX));
        assert!(snapshot.has(1));
        assert!(!snapshot.has(2));
        assert!(!snapshot.has(1000));
    }

    #[test]
    fn other_texts_are_no_snapshots() {
        for text in ["", "1", "1:2", "1:x:", "1:2:3,x"] {
            assert_eq!(CopiedSnapshot::parse(text), Err(NoSnapshot), "{text}");
        }
    }
}
