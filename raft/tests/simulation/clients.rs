//! What is proposed meanwhile: changes of the schema as coordinators make them,
//! jobs as drivers do.

use std::time::Duration;

use cluster::NodeId;
use cluster::jobs::{JobAnswer, JobCommand, JobId, JobKind};
use cluster::metadata::{
    DdlAnswer, DdlCommand, DdlEntry, DdlStep, EntryKind, MetadataCommand, Outcome, TokenHolder,
};
use cluster::txn::Life;
use tokio::time::sleep;

use crate::runtime::{below, draw, millis, percent};
use crate::world::World;

/// A client goes on like this until the world ends.
pub async fn act(world: World) {
    loop {
        match below(10) {
            0..=6 => change_schema(&world).await,
            7 => expire_token(&world).await,
            _ => run_job(&world).await,
        }
        sleep(millis(10, 400)).await;
    }
}

async fn propose(world: &World, command: DdlCommand) -> Option<Outcome> {
    world.propose(MetadataCommand::Ddl(command)).await
}

/// What a coordinator does; at any point it may be too slow, or not hear.
async fn change_schema(world: &World) {
    let node = NodeId(1 + below(world.size) as u32);
    let life = Life(world.life_of(node));
    let holder = TokenHolder { node, life, request: draw() };
    let take = DdlCommand::TakeToken { holder };
    let Some(Outcome::Ddl(DdlAnswer::Granted { token, .. })) = propose(world, take).await else {
        return;
    };
    if percent(30) {
        propose(world, DdlCommand::RenewToken { token }).await;
    }
    // PREPARE; now and then it takes too long.
    sleep(if percent(15) { millis(1000, 6000) } else { millis(5, 100) }).await;
    if percent(10) {
        propose(world, DdlCommand::GiveUpToken { token }).await;
        if percent(50) {
            return;
        }
    }
    let kind = if percent(30) { EntryKind::Intent } else { EntryKind::Complete };
    let (user, search_path) = ("alice".to_owned(), "public".to_owned());
    let step = DdlStep { user, search_path, command: format!("{}", draw()) };
    let entry = DdlEntry::new(token, kind, 0, vec![step]);
    // Whoever does not know the outcome asks again.
    for _ in 0..4 {
        match propose(world, DdlCommand::Append(entry.clone())).await {
            Some(Outcome::Ddl(DdlAnswer::Accepted { position })) => {
                if kind == EntryKind::Intent {
                    let settle = DdlCommand::Settle { token, by: node, is_committed: percent(50) };
                    while propose(world, settle.clone()).await.is_none() {}
                }
                propose(world, DdlCommand::NoteApplied { node, position }).await;
                return;
            }
            Some(_) => return,
            None => sleep(millis(10, 500)).await,
        }
    }
}

/// What the leader does when a token is not renewed.
async fn expire_token(world: &World) {
    let Some(token) = world.applied_somewhere().ddl().token() else { return };
    sleep(Duration::from_millis(500)).await;
    propose(world, DdlCommand::ExpireToken { token: token.id, renewals: token.renewals }).await;
}

async fn run_job(world: &World) {
    let node = NodeId(1 + below(world.size) as u32);
    let job = |command| world.propose(MetadataCommand::Job(command));
    let kind = JobKind::DropIndex { index: "i".to_owned() };
    let (key, owner) = (format!("{}", draw()), "alice".to_owned());
    let submitted = job(JobCommand::Submit { key, kind, owner, home: node, at: 0 }).await;
    let Some(Outcome::Job(JobAnswer::Submitted { id })) = submitted else { return };
    // Jobs of others are taken over, too.
    let id = if percent(30) { JobId(1 + below(id.0)) } else { id };
    let metadata = world.applied_somewhere();
    let after = metadata.jobs().get(id).map_or(0, |job| job.attempt);
    let claimed = job(JobCommand::Claim { job: id, node, after, at: 0 }).await;
    let Some(Outcome::Job(JobAnswer::Claimed { attempt })) = claimed else { return };
    sleep(millis(5, 300)).await;
    if percent(20) {
        job(JobCommand::Cancel { job: id, at: 0 }).await;
    }
    job(JobCommand::Finish { job: id, attempt, left_out: String::new(), at: 0 }).await;
}
