//! From the foreign leaf's name here to the real leaf's name there.
//!
//! The server prints a leaf as `shardman_remote.<name>`; on its owner the table
//! is `shardman_data.<name>`. Names are qualified rather than left to a
//! search_path: a function that the remote statement runs may change that.

const HERE: &[u8] = b"shardman_remote.";
const THERE: &[u8] = b"shardman_data.";

/// The statement in one line, with every leaf under its owner's schema. Literals
/// and quoted identifiers are left alone. `sql` is in any encoding whose multi-byte
/// characters hold no ASCII bytes, as PostgreSQL's server encodings are.
pub fn at_owner(sql: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(&byte) = rest.first() {
        let starts_word = out.last().is_none_or(|before| !is_word(*before) && *before != b'.');
        let taken = match byte {
            b'\'' => {
                let is_escape_string = matches!(out.last(), Some(b'E' | b'e'));
                quoted_length(rest, is_escape_string)
            }
            b'"' => quoted_length(rest, false),
            // The server breaks lines and indents; EXPLAIN and logs want one.
            b' ' | b'\n' => {
                if !matches!(out.last(), None | Some(b' ')) {
                    out.push(b' ');
                }
                rest = &rest[1..];
                continue;
            }
            _ if starts_word && rest.starts_with(HERE) => {
                out.extend_from_slice(THERE);
                rest = &rest[HERE.len()..];
                continue;
            }
            _ => 1,
        };
        out.extend_from_slice(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

/// Bytes up to and with the closing quote; a doubled quote is two quoted
/// stretches in a row, which comes to the same.
fn quoted_length(text: &[u8], has_backslashes: bool) -> usize {
    let quote = text[0];
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' if has_backslashes => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(sql: &str) -> String {
        String::from_utf8(at_owner(sql.as_bytes())).unwrap()
    }

    #[test]
    fn leaves_move_and_nothing_else_does() {
        assert_eq!(
            renamed(
                "SELECT id FROM shardman_remote.shard_1_t_0 WHERE v = 'shardman_remote.x' \
                 AND w = E'\\'shardman_remote.y' AND x = 'it''s shardman_remote.z' \
                 AND \"shardman_remote.q\" = my_shardman_remote.c AND a.shardman_remote.b IS NULL"
            ),
            "SELECT id FROM shardman_data.shard_1_t_0 WHERE v = 'shardman_remote.x' \
             AND w = E'\\'shardman_remote.y' AND x = 'it''s shardman_remote.z' \
             AND \"shardman_remote.q\" = my_shardman_remote.c AND a.shardman_remote.b IS NULL"
        );
        assert_eq!(
            renamed("(shardman_remote.\"shard_2_Ü ü_1\" a JOIN shardman_remote.b)"),
            "(shardman_data.\"shard_2_Ü ü_1\" a JOIN shardman_data.b)"
        );
    }

    #[test]
    fn lines_are_joined_outside_of_quotes() {
        assert_eq!(
            renamed(" SELECT a\n   FROM t\n  WHERE x = 'a\n  b'"),
            "SELECT a FROM t WHERE x = 'a\n  b'"
        );
    }

    #[test]
    fn an_open_quote_ends_with_the_text() {
        assert_eq!(renamed("'shardman_remote."), "'shardman_remote.");
        assert_eq!(renamed("E'\\"), "E'\\");
    }
}
