//! Numbers inside of names.

/// The number that a run of ASCII digits stands for; `None` for anything else.
/// `FromStr` of integers would take a sign too.
pub(crate) fn parse_digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}
