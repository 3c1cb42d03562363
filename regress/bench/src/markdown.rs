//! Tables and numbers as Markdown.

use std::fmt::Write;

use crate::sample::Spread;

/// A table under construction.
pub struct Table {
    text: String,
}

impl Table {
    /// With these columns.
    pub fn new(columns: &[&str]) -> Self {
        let mut table = Self { text: String::new() };
        table.row(columns);
        table.row(&vec!["---"; columns.len()]);
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[impl AsRef<str>]) {
        self.text.push('|');
        for cell in cells {
            // A cell that breaks the table would take the others with it.
            let cell = cell.as_ref().replace('|', "\\|").replace('\n', " ");
            // Writing to a String cannot fail.
            let _ = write!(self.text, " {cell} |");
        }
        self.text.push('\n');
    }

    /// The whole of it.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// With three digits that mean something, and separators of thousands.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 => 2,
        0.0 => 0,
        v if v >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

/// A median with its range.
pub fn spread(spread: Spread) -> String {
    format!("{} ({}-{})", number(spread.median), number(spread.min), number(spread.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [1234567.8, 999.6, 42.25, 7.12345, 0.0123, 0.0].map(number);
        assert_eq!(texts, ["1,234,568", "1,000", "42.2", "7.12", "0.012", "0"]);
    }
}
