//! What this server says of itself.

use cluster::ServerDescription;
use pgrx::prelude::*;

use super::{my_identity_if_any, system_identifier};
use crate::catalog::ActingAs;
use crate::report::Report;
use crate::settings;

/// Everything that decides whether two servers can be nodes of one cluster.
pub fn describe_this_server() -> Result<ServerDescription, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let text = |value: Option<String>| value.unwrap_or_default();
    Spi::connect(|client| {
        let row = client.select(
            "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
                    e.extversion, pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text,
                    d.datlocprovider::pg_catalog.text, d.datcollate, d.datctype, d.datcollversion,
                    pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int4
             FROM pg_catalog.pg_database AS d, pg_catalog.pg_extension AS e
             WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
               AND e.extname OPERATOR(pg_catalog.=) 'shardman'",
            None,
            &[],
        )?;
        let row = row.first();
        Ok(ServerDescription {
            server_version_num: row.get::<i32>(1)?.unwrap_or_default(),
            extension_version: text(row.get(2)?),
            system_identifier: system_identifier(),
            database: settings::database(),
            encoding: text(row.get(3)?),
            locale_provider: text(row.get(4)?),
            collate: text(row.get(5)?),
            ctype: text(row.get(6)?),
            collation_version: row.get(7)?,
            max_prepared_transactions: row.get::<i32>(8)?.unwrap_or_default(),
            member_of: my_identity_if_any()?.map(|identity| identity.cluster_id.clone()),
        })
    })
}
