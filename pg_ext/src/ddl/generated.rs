//! Statements that a query over the catalogues writes.

use pgrx::prelude::*;

use crate::report::Report;

/// Runs each text that the query's first column holds, in order; the query has
/// ended by then.
pub fn run_generated(query: &str) -> Result<(), Report> {
    let statements = Spi::connect(|client| -> Result<Vec<String>, Report> {
        let rows = client.select(query, None, &[])?;
        let texts = rows.map(|row| row.get::<String>(1));
        Ok(texts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    })?;
    Ok(statements.iter().try_for_each(|sql| Spi::run(sql))?)
}
