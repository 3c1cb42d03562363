//! The node role's password: the cluster's credential.

use cluster::Credential;
use pgrx::prelude::*;

use crate::catalog::ActingAs;
use crate::report::Report;

/// 32 bytes from the system's generator, in hexadecimal.
pub fn random_hex(bytes: usize) -> Result<String, Report> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| {
        Report::new(PgSqlErrorCode::ERRCODE_SYSTEM_ERROR, "could not draw a random number")
            .detail(error.to_string())
    })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Lets node sessions log in with the credential, as a SCRAM verifier.
pub fn set_credential(credential: &Credential) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let _own_work = crate::ddl::OwnWork::begin();
    Spi::run("SET LOCAL password_encryption = 'scram-sha-256'")?;
    let password = pgrx::spi::quote_literal(&credential.0);
    Ok(Spi::run(&format!("ALTER ROLE shardman_node PASSWORD {password}"))?)
}
