//! Bytes that travel in JSON.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Opaque here. In JSON they are base64: an array of numbers would be three
/// times as long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Bytes {
    fn encode(&self) -> String {
        let mut text = String::with_capacity(self.0.len().div_ceil(3) * 4);
        for chunk in self.0.chunks(3) {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            // Digits that would stand for nothing but padding are left out.
            for digit in 0..=chunk.len() {
                let six = bits >> (18 - 6 * digit) & 63;
                text.push(char::from(DIGITS[six as usize]));
            }
        }
        text
    }

    fn decode(text: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
        for chunk in text.as_bytes().chunks(4) {
            let mut bits = 0;
            for at in 0..4 {
                let six = match chunk.get(at) {
                    Some(digit) => value(*digit)?,
                    None => 0,
                };
                bits = bits << 6 | six;
            }
            let count = chunk.len().checked_sub(1).filter(|count| *count > 0)?;
            bytes.extend([bits >> 16, bits >> 8, bits].iter().take(count).map(|b| *b as u8));
        }
        Some(Bytes(bytes))
    }
}

fn value(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Bytes::decode(&text).ok_or_else(|| D::Error::custom("these are no bytes in base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_survive() {
        for length in 0..70 {
            let bytes = Bytes((0..length).map(|at| (at * 37 + length) as u8).collect());
            assert_eq!(Bytes::decode(&bytes.encode()), Some(bytes));
        }
        assert_eq!(Bytes(b"light wor".to_vec()).encode(), "bGlnaHQgd29y");
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["a", "ab=c", "ä", "abcde"] {
            assert_eq!(Bytes::decode(text), None, "{text}");
        }
    }
}
