//! Whether nodes have the same schema.

use anyhow::ensure;

use crate::Session;

/// An error unless the digest of the schema is the same on all nodes.
pub fn schemas_are_equal(sessions: &[Session]) -> anyhow::Result<()> {
    let digests: Vec<_> = sessions
        .iter()
        .map(|session| session.value("SELECT shardman.schema_digest()"))
        .collect::<Result<_, _>>()?;
    ensure!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    Ok(())
}
