//! SQL identifiers in option values, read and printed as PostgreSQL does.

use thiserror::Error;

/// Why a text is not a list of identifiers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentifierError {
    /// A double quote without its partner.
    #[error("unterminated quoted identifier")]
    Unterminated,
    /// Nothing, or nothing between two separators.
    #[error("identifier missing")]
    Empty,
    /// A character that an unquoted identifier cannot hold.
    #[error("unexpected character \"{0}\"")]
    Unexpected(char),
}

/// Identifiers separated by commas: unquoted ones are folded to lower case,
/// quoted ones taken as they are.
pub fn parse_identifiers(text: &str) -> Result<Vec<String>, IdentifierError> {
    parse_separated(text, ',')
}

/// `table` or `schema.table`.
pub fn parse_qualified_name(text: &str) -> Result<(Option<String>, String), IdentifierError> {
    let mut parts = parse_separated(text, '.')?;
    let name = parts.pop().ok_or(IdentifierError::Empty)?;
    match (parts.pop(), parts.is_empty()) {
        (schema, true) => Ok((schema, name)),
        (_, false) => Err(IdentifierError::Unexpected('.')),
    }
}

/// The identifier between double quotes, always: safe for any name.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn parse_separated(text: &str, separator: char) -> Result<Vec<String>, IdentifierError> {
    let mut identifiers = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let (identifier, after) = take_identifier(rest)?;
        identifiers.push(identifier);
        let after = after.trim_start();
        match after.chars().next() {
            None => return Ok(identifiers),
            Some(c) if c == separator => rest = after[c.len_utf8()..].trim_start(),
            Some(c) => return Err(IdentifierError::Unexpected(c)),
        }
    }
}

fn take_identifier(text: &str) -> Result<(String, &str), IdentifierError> {
    if let Some(quoted) = text.strip_prefix('"') {
        return take_quoted(quoted);
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$')));
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    match (word.chars().next(), rest.chars().next()) {
        (None, None) => Err(IdentifierError::Empty),
        (None, Some(',' | '.')) => Err(IdentifierError::Empty),
        (None, Some(c)) => Err(IdentifierError::Unexpected(c)),
        (Some(c), _) if c.is_ascii_digit() || c == '$' => Err(IdentifierError::Unexpected(c)),
        _ => Ok((word.to_ascii_lowercase(), rest)),
    }
}

fn take_quoted(text: &str) -> Result<(String, &str), IdentifierError> {
    let mut identifier = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            identifier.push(c);
        } else if chars.peek().is_some_and(|&(_, next)| next == '"') {
            identifier.push('"');
            chars.next();
        } else if identifier.is_empty() {
            return Err(IdentifierError::Empty);
        } else {
            return Ok((identifier, &text[at + 1..]));
        }
    }
    Err(IdentifierError::Unterminated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unquoted_names_fold_and_quoted_ones_do_not() {
        let parsed = parse_identifiers(r#" Id ,"Weird ""Name, x", _b$1"#);
        assert_eq!(parsed, Ok(vec!["id".into(), r#"Weird "Name, x"#.into(), "_b$1".into()]));
    }

    #[test]
    fn holes_and_strange_characters_are_refused() {
        assert_eq!(parse_identifiers(""), Err(IdentifierError::Empty));
        assert_eq!(parse_identifiers("a,"), Err(IdentifierError::Empty));
        assert_eq!(parse_identifiers(",a"), Err(IdentifierError::Empty));
        assert_eq!(parse_identifiers("a b"), Err(IdentifierError::Unexpected('b')));
        assert_eq!(parse_identifiers("lower(a)"), Err(IdentifierError::Unexpected('(')));
        assert_eq!(parse_identifiers("1a"), Err(IdentifierError::Unexpected('1')));
        assert_eq!(parse_identifiers("\"a"), Err(IdentifierError::Unterminated));
        assert_eq!(parse_identifiers("\"\""), Err(IdentifierError::Empty));
    }

    #[test]
    fn a_table_may_be_qualified_once() {
        assert_eq!(parse_qualified_name("T"), Ok((None, "t".into())));
        assert_eq!(parse_qualified_name("s.\"T.x\""), Ok((Some("s".into()), "T.x".into())));
        assert_eq!(parse_qualified_name("a.b.c"), Err(IdentifierError::Unexpected('.')));
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(names in prop::collection::vec("[^\0]{1,12}", 1..4)) {
            let quoted: Vec<_> = names.iter().map(|n| quote_identifier(n)).collect();
            prop_assert_eq!(parse_identifiers(&quoted.join(" , ")), Ok(names));
        }
    }
}
