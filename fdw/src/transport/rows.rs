//! The rows of one reply, kept as they came: one allocation for all of them.

/// DataRow bodies, one after another.
#[derive(Default)]
pub struct RowBuffer {
    bytes: Vec<u8>,
    rows: usize,
}

/// A column's value on the wire; `None` is NULL.
pub type Field<'a> = Option<&'a [u8]>;

impl RowBuffer {
    /// Appends the body of a DataRow message.
    pub fn push(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(&(body.len() as u32).to_ne_bytes());
        self.bytes.extend_from_slice(body);
        self.rows += 1;
    }

    /// Appends all bodies to `into`, one after another.
    pub fn append_to(&self, into: &mut Vec<u8>) {
        let mut position = 0;
        while let Some(body) = self.next_row(&mut position) {
            into.extend_from_slice(body);
        }
    }

    /// Takes over the rows of another buffer, after its own.
    pub fn append(&mut self, mut other: RowBuffer) {
        if self.rows == 0 {
            *self = other;
        } else {
            self.bytes.append(&mut other.bytes);
            self.rows += other.rows;
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Bytes held.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The body at `*position`, which moves on to the next; `None` at the end.
    /// Positions start at 0.
    #[inline]
    pub fn next_row(&self, position: &mut usize) -> Option<&[u8]> {
        let start = *position + 4;
        let len = self.bytes.get(*position..start)?;
        let len = u32::from_ne_bytes([len[0], len[1], len[2], len[3]]) as usize;
        let row = self.bytes.get(start..start + len)?;
        *position = start + len;
        Some(row)
    }

    /// All rows as text, for small answers that code reads.
    pub fn to_text(&self) -> Vec<Vec<Option<String>>> {
        let mut position = 0;
        let mut rows = Vec::with_capacity(self.rows);
        while let Some(body) = self.next_row(&mut position) {
            rows.push(
                fields(body).map(|f| f.map(|b| String::from_utf8_lossy(b).into_owned())).collect(),
            );
        }
        rows
    }
}

/// The columns of a DataRow body. Ends early if the body is cut short.
#[inline]
pub fn fields(body: &[u8]) -> Fields<'_> {
    Fields { rest: body.get(2..).unwrap_or(&[]) }
}

/// Iterator over the columns of a row.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        let (len, rest) = self.rest.split_first_chunk::<4>()?;
        let len = i32::from_be_bytes(*len);
        if len < 0 {
            self.rest = rest;
            return Some(None);
        }
        let (value, rest) = rest.split_at_checked(len as usize)?;
        self.rest = rest;
        Some(Some(value))
    }
}
