//! Giving up blocks that a setval elsewhere has made void.

use cluster::SequenceId;
use pgrx::prelude::*;

use super::blocks;
use crate::catalog::registry;
use crate::report::{OrRaise, Report};
use crate::{membership, node_session, snapshot};

/// Has all other active nodes give up their blocks of a sequence.
pub fn on_other_nodes(id: SequenceId) -> Result<(), Report> {
    let me = membership::my_identity()?.node_id;
    let known = registry()?;
    let others = known.members().iter().filter(|member| member.is_active && member.id != me);
    let id = id.0.to_string();
    for member in others {
        snapshot::allowing_ddl(|| {
            let remote = fdw::session::for_node(member.id)?;
            remote.query("SELECT shardman.forget_sequence_block($1)", &[Some(&id)]).map(drop)
        })?;
    }
    Ok(())
}

/// `shardman.forget_sequence_block(bigint)`, from another node.
#[pg_extern(sql = false)]
fn forget_sequence_block(id: i64) {
    if !node_session::is_node_session() {
        Err::<(), _>(Report::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "only nodes of the cluster may call shardman.forget_sequence_block()",
        ))
        .or_raise();
    }
    blocks::give_up(SequenceId(id as u64));
}
