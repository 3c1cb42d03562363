//! Keeping clear-text passwords off the wire and out of other nodes' logs.

/// A statement whose password literal is replaced, or `None` if there is none
/// after `offset`: the byte position of the option `PASSWORD` in `statement`.
/// `verifier` is what the server stored; NULL stays as it is.
pub fn replace_password(statement: &str, offset: usize, verifier: &str) -> Option<String> {
    let tail = statement.get(offset..)?;
    let start = offset + tail.find(['\'', '$'])?;
    let end = start + literal_length(statement.get(start..)?, is_escape_string(statement, start))?;
    // What gives the literal another reading goes with it: E'…', U&'…'.
    let before = statement[..start].trim_end_matches(['e', 'E']);
    let before = before.strip_suffix("U&").or_else(|| before.strip_suffix("u&")).unwrap_or(before);
    let quoted = verifier.replace('\'', "''");
    Some(format!("{before} '{quoted}'{}", &statement[end..]))
}

fn is_escape_string(statement: &str, quote: usize) -> bool {
    let mut before = statement[..quote].chars().rev();
    let is_e = before.next().is_some_and(|c| c.eq_ignore_ascii_case(&'e'));
    is_e && !before.next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Bytes of the string literal that `text` begins with, quotes included.
fn literal_length(text: &str, has_escapes: bool) -> Option<usize> {
    if let Some(tail) = text.strip_prefix('$') {
        let tag_length = tail.find('$')? + 2;
        let (tag, rest) = text.split_at(tag_length);
        return Some(tag_length + rest.find(tag)? + tag_length);
    }
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'\\' if has_escapes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(statement: &str) -> Option<String> {
        let offset = statement.find("PASSWORD").unwrap();
        replace_password(statement, offset, "SCRAM$x")
    }

    #[test]
    fn every_spelling_of_a_literal_is_replaced() {
        for literal in [
            "'secret'",
            "'it''s secret'",
            r"E'it\'s secret'",
            "$$secret$$",
            "$a$sec$ret$a$",
            "U&'secret'",
        ] {
            let got = replaced(&format!("CREATE ROLE r PASSWORD {literal} LOGIN")).unwrap();
            assert!(!got.contains("sec"), "{literal}: {got}");
            assert!(
                got.ends_with("'SCRAM$x' LOGIN") && got.starts_with("CREATE ROLE r PASSWORD "),
                "{got}"
            );
        }
    }

    #[test]
    fn no_password_stays_none() {
        assert_eq!(replaced("ALTER ROLE r PASSWORD NULL"), None);
        assert_eq!(replaced("ALTER ROLE r PASSWORD 'open"), None);
    }
}
