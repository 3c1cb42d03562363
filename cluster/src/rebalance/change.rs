//! The messages of PostgreSQL's output plugin `pgoutput`, protocol version 1.

use thiserror::Error;

use super::Lsn;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The changes of a transaction follow.
    Begin {
        /// The transaction.
        xid: u32,
    },
    /// They were all.
    Commit {
        /// Where the commit record ends.
        end: Lsn,
    },
    /// What later messages name by number.
    Relation(Relation),
    /// A new row.
    Insert {
        /// Which relation.
        relation: u32,
        /// The row.
        new: Tuple,
    },
    /// A changed row.
    Update {
        /// Which relation.
        relation: u32,
        /// The former row, or its key; absent if the key did not change.
        old: Option<Tuple>,
        /// The row.
        new: Tuple,
    },
    /// A row that is gone.
    Delete {
        /// Which relation.
        relation: u32,
        /// The row, or its key.
        old: Tuple,
    },
    /// All rows are gone.
    Truncate {
        /// Which relations.
        relations: Vec<u32>,
    },
    /// Something that changes no row.
    Other,
}

/// A relation as the source knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its number in other messages.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Whether rows are told apart by all of their columns.
    pub is_full: bool,
    /// In the order of tuples: generated ones are left out.
    pub columns: Vec<Column>,
}

/// One of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Whether it tells rows apart.
    pub is_key: bool,
    /// OID of its type; means something for built-in types only.
    pub type_oid: u32,
}

/// A value in a tuple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// NULL
    Null,
    /// A long value that is stored apart and did not change.
    Unchanged,
    /// As the type's output function prints it.
    Text(String),
}

/// A row, or those of its columns that tell it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// By the relation's columns.
    pub values: Vec<Value>,
    /// Only key columns are filled.
    pub is_key: bool,
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed change message")]
pub struct Malformed;

/// Reads one message.
pub fn decode(bytes: &[u8]) -> Result<Change, Malformed> {
    let mut reader = Reader { rest: bytes };
    Ok(match reader.byte()? {
        b'B' => {
            reader.skip(16)?;
            Change::Begin { xid: reader.long()? }
        }
        b'C' => {
            reader.skip(9)?;
            Change::Commit { end: Lsn(reader.long_long()?) }
        }
        b'R' => Change::Relation(reader.relation()?),
        b'I' => {
            let relation = reader.long()?;
            reader.byte()?;
            Change::Insert { relation, new: reader.tuple(false)? }
        }
        b'U' => {
            let relation = reader.long()?;
            let mut kind = reader.byte()?;
            let mut old = None;
            if kind != b'N' {
                old = Some(reader.tuple(kind == b'K')?);
                kind = reader.byte()?;
            }
            if kind != b'N' {
                return Err(Malformed);
            }
            Change::Update { relation, old, new: reader.tuple(false)? }
        }
        b'D' => {
            let relation = reader.long()?;
            let is_key = reader.byte()? == b'K';
            Change::Delete { relation, old: reader.tuple(is_key)? }
        }
        b'T' => {
            let count = reader.long()?;
            reader.byte()?;
            let relations = (0..count).map(|_| reader.long()).collect::<Result<_, _>>()?;
            Change::Truncate { relations }
        }
        _ => Change::Other,
    })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.bytes(count).map(drop)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn short(&mut self) -> Result<u16, Malformed> {
        self.bytes(2)?.try_into().map(u16::from_be_bytes).map_err(|_| Malformed)
    }

    fn long(&mut self) -> Result<u32, Malformed> {
        self.bytes(4)?.try_into().map(u32::from_be_bytes).map_err(|_| Malformed)
    }

    fn long_long(&mut self) -> Result<u64, Malformed> {
        self.bytes(8)?.try_into().map(u64::from_be_bytes).map_err(|_| Malformed)
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let text = self.bytes(end)?;
        self.skip(1)?;
        text_of(text)
    }

    fn relation(&mut self) -> Result<Relation, Malformed> {
        let id = self.long()?;
        self.string()?;
        let name = self.string()?;
        let is_full = self.byte()? == b'f';
        let count = self.short()?;
        let column = |_| {
            let is_key = self.byte()? & 1 != 0;
            let name = self.string()?;
            let type_oid = self.long()?;
            self.skip(4)?;
            Ok(Column { name, is_key, type_oid })
        };
        let columns = (0..count).map(column).collect::<Result<_, _>>()?;
        Ok(Relation { id, name, is_full, columns })
    }

    fn tuple(&mut self, is_key: bool) -> Result<Tuple, Malformed> {
        let count = self.short()?;
        let value = |_| {
            Ok(match self.byte()? {
                b'n' => Value::Null,
                b'u' => Value::Unchanged,
                b't' => {
                    let length = self.long()? as usize;
                    Value::Text(text_of(self.bytes(length)?)?)
                }
                _ => return Err(Malformed),
            })
        };
        let values = (0..count).map(value).collect::<Result<_, _>>()?;
        Ok(Tuple { values, is_key })
    }
}

fn text_of(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_without_its_old_key_and_one_with_it_are_read() {
        let new = b"N\0\x02t\0\0\0\x01xn";
        let plain = [b"U\0\0\0\x07".as_slice(), new].concat();
        let values = vec![Value::Text("x".into()), Value::Null];
        let row = Tuple { values, is_key: false };
        assert_eq!(decode(&plain), Ok(Change::Update { relation: 7, old: None, new: row.clone() }));
        let keyed = [b"U\0\0\0\x07K\0\x02t\0\0\0\x01wn".as_slice(), new].concat();
        let values = vec![Value::Text("w".into()), Value::Null];
        let old = Some(Tuple { values, is_key: true });
        assert_eq!(decode(&keyed), Ok(Change::Update { relation: 7, old, new: row }));
    }

    #[test]
    fn a_message_that_is_cut_off_is_malformed() {
        let whole = b"R\0\0\0\x07s\0t\0d\0\x01\x01id\0\0\0\0\x14\xff\xff\xff\xff";
        let column = Column { name: "id".into(), is_key: true, type_oid: 20 };
        let relation = Relation { id: 7, name: "t".into(), is_full: false, columns: vec![column] };
        assert_eq!(decode(whole), Ok(Change::Relation(relation)));
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), Err(Malformed), "{length}");
        }
    }
}
