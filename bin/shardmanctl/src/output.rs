//! How results reach the person or script that asked: a table or one JSON
//! document on standard output. Progress and errors go to standard error.

use anyhow::Context;
use comfy_table::{Table, presets};
use serde::Serialize;

/// The form of a command's result.
#[derive(Clone, Copy)]
pub struct Output {
    /// One JSON document instead of text for people.
    pub is_json: bool,
}

impl Output {
    /// Prints `value` as JSON, or what `text` makes of it.
    pub fn print<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        if self.is_json {
            let json = serde_json::to_string_pretty(value).context("could not write JSON")?;
            println!("{json}");
        } else {
            println!("{}", text(value).trim_end());
        }
        Ok(())
    }

    /// One line about what is going on; silent when a script reads JSON.
    pub fn progress(self, line: &str) {
        if !self.is_json {
            eprintln!("{line}");
        }
    }
}

/// A table with `header` and no lines beside the one under the header.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

/// `value` or `-`, the sign for a value that is not known or does not apply.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
