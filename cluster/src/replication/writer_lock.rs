//! Where writers of a replicated table queue up.
//!
//! They do so on one node, the table's home, before any row is locked: two
//! writers that lock the same rows on two nodes in turn would wait for each
//! other. A statement that writes one row by its key locks that key, any other
//! the whole table.

use std::fmt;
use std::str::FromStr;

use crate::TableId;

/// One lock at a table's home, held until the transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriterLock {
    /// To write rows of the table: alone.
    Table(TableId),
    /// To write the row whose key hashes to this: besides writers of others.
    Key(TableId, u32),
    /// To write rows that refer to rows of the table: while nobody writes it.
    Referrer(TableId),
}

impl WriterLock {
    /// The table.
    pub fn table(self) -> TableId {
        match self {
            WriterLock::Table(table) | WriterLock::Key(table, _) | WriterLock::Referrer(table) => {
                table
            }
        }
    }

    /// Whether who holds this one needs the other no more.
    pub fn covers(self, other: Self) -> bool {
        self == other || matches!(self, WriterLock::Table(_)) && self.table() == other.table()
    }

    /// A list of them as one text.
    pub fn print(locks: &[Self]) -> String {
        locks.iter().map(Self::to_string).collect::<Vec<_>>().join(",")
    }

    /// Read back; `None` for anything else.
    pub fn parse(text: &str) -> Option<Vec<Self>> {
        text.split(',').map(|lock| lock.parse().ok()).collect()
    }
}

impl fmt::Display for WriterLock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriterLock::Table(table) => write!(out, "t{table}"),
            WriterLock::Key(table, key) => write!(out, "k{table}.{key}"),
            WriterLock::Referrer(table) => write!(out, "r{table}"),
        }
    }
}

/// No writer lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLock;

impl FromStr for WriterLock {
    type Err = NoLock;

    fn from_str(text: &str) -> Result<Self, NoLock> {
        let rest = text.get(1..).ok_or(NoLock)?;
        let number = |text: &str| text.parse().map(TableId).map_err(|_| NoLock);
        match text.as_bytes()[0] {
            b't' => Ok(WriterLock::Table(number(rest)?)),
            b'r' => Ok(WriterLock::Referrer(number(rest)?)),
            b'k' => {
                let (table, key) = rest.split_once('.').ok_or(NoLock)?;
                Ok(WriterLock::Key(number(table)?, key.parse().map_err(|_| NoLock)?))
            }
            _ => Err(NoLock),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back() {
        let table = TableId(7);
        let locks =
            vec![WriterLock::Table(table), WriterLock::Key(table, 9), WriterLock::Referrer(table)];
        assert_eq!(WriterLock::print(&locks), "t7,k7.9,r7");
        assert_eq!(WriterLock::parse("t7,k7.9,r7"), Some(locks));
        for wrong in ["", "t", "x7", "k7", "k7.", "t7,", "té"] {
            assert_eq!(WriterLock::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_tables_lock_covers_its_keys_and_no_other_table() {
        let (one, two) = (TableId(1), TableId(2));
        assert!(WriterLock::Table(one).covers(WriterLock::Key(one, 3)));
        assert!(WriterLock::Table(one).covers(WriterLock::Referrer(one)));
        assert!(!WriterLock::Table(one).covers(WriterLock::Table(two)));
        assert!(!WriterLock::Key(one, 3).covers(WriterLock::Key(one, 4)));
        assert!(!WriterLock::Key(one, 3).covers(WriterLock::Table(one)));
        assert!(!WriterLock::Referrer(one).covers(WriterLock::Key(one, 3)));
    }
}
