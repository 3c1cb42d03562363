//! One move.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{NodeId, PartitionNumber, TableId};

/// Partition `partition` of every table of a colocation group goes from one
/// node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relocation {
    /// The job that does it.
    pub job: i64,
    /// The colocation group.
    pub group: TableId,
    /// Of every table of the group.
    pub partition: PartitionNumber,
    /// Where it is.
    pub source: NodeId,
    /// Where it goes.
    pub destination: NodeId,
}

impl Relocation {
    /// Of the slot and of the publication on the source.
    pub fn name(&self) -> String {
        format!("{}{}_{}", Self::PREFIX, self.group, self.partition)
    }

    /// What names of slots and publications of moves begin with.
    pub const PREFIX: &'static str = "shardman_move_";
}

/// A position in a server's WAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (high, low) = text.split_once('/').ok_or(())?;
        let part = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| ());
        Ok(Lsn(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_back() {
        for (text, number) in [("0/0", 0), ("16/B374D848", 0x16_b374_d848)] {
            assert_eq!(text.parse(), Ok(Lsn(number)));
            assert_eq!(Lsn(number).to_string(), text);
        }
        for other in ["", "1", "1/", "x/1", "1/100000000"] {
            assert!(other.parse::<Lsn>().is_err(), "{other}");
        }
    }
}
