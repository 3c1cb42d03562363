//! Names of leaves.
//!
//! A partition's real table is `shardman_data.<name>` on its node, the foreign
//! table that stands for it elsewhere `shardman_remote.<name>`, the same name.
//! It carries the table id, so it is unique in the cluster by construction.

use std::fmt;

use crate::digits::parse_digits;
use crate::{PartitionNumber, TableId};

/// Where real leaves are.
pub const LEAF_SCHEMA: &str = "shardman_data";
/// Where foreign leaves are.
pub const REMOTE_SCHEMA: &str = "shardman_remote";
/// Where copies are that a move has not finished.
pub const MOVING_SCHEMA: &str = "shardman_moving";

const PREFIX: &str = "shard_";
/// NAMEDATALEN - 1 of stock PostgreSQL.
const MAX_BYTES: usize = 63;

/// `shard_<table id>_<table name, shortened if it must be>_<partition number>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafName {
    /// Which sharded table.
    pub table: TableId,
    /// Which of its partitions.
    pub partition: PartitionNumber,
    printed: String,
}

impl LeafName {
    /// The name of a partition's leaf; at most 63 bytes, cut between characters.
    pub fn new(table: TableId, table_name: &str, partition: PartitionNumber) -> Self {
        let front = format!("{PREFIX}{table}_");
        let back = format!("_{partition}");
        let room = MAX_BYTES - front.len() - back.len();
        let mut cut = table_name.len().min(room);
        while !table_name.is_char_boundary(cut) {
            cut -= 1;
        }
        let printed = format!("{front}{}{back}", &table_name[..cut]);
        LeafName { table, partition, printed }
    }

    /// Reads a name that [`LeafName::new`] printed; `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        let (table, rest) = name.strip_prefix(PREFIX)?.split_once('_')?;
        let (_, partition) = rest.rsplit_once('_')?;
        Some(LeafName {
            table: TableId(parse_digits(table)?),
            partition: PartitionNumber(parse_digits(partition)?),
            printed: name.to_owned(),
        })
    }

    /// The table's name in it, as far as it was not shortened: longest in the
    /// name of partition 0. A renamed table keeps its leaves' names.
    pub fn table_name(&self) -> &str {
        let rest = self.printed.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
        rest.and_then(|(_, rest)| rest.rsplit_once('_')).map_or("", |(name, _)| name)
    }

    /// As the relation is called.
    pub fn as_str(&self) -> &str {
        &self.printed
    }
}

impl fmt::Display for LeafName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.printed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_say_table_and_number() {
        let name = LeafName::new(TableId(12), "orders", PartitionNumber(3));
        assert_eq!(name.as_str(), "shard_12_orders_3");
    }

    #[test]
    fn other_names_are_not_leaves() {
        for other in
            ["orders_3", "shard_x_orders_3", "shard_1_orders_", "shard_1_3", "shard_+1_a_2"]
        {
            assert_eq!(LeafName::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_table_name_fits_and_reads_back(table: u64, name in "[^\0]{1,63}", number in 0u16..1024) {
            let leaf = LeafName::new(TableId(table), &name, PartitionNumber(number));
            prop_assert!(leaf.as_str().len() <= MAX_BYTES);
            let first = LeafName::new(TableId(table), &name, PartitionNumber(0));
            let again = LeafName::new(TableId(table), first.table_name(), PartitionNumber(number));
            prop_assert_eq!(&again, &leaf);
            prop_assert_eq!(LeafName::parse(leaf.as_str()), Some(leaf));
        }
    }
}
