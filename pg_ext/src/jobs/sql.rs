//! The SQL-callable functions of jobs.
#![allow(unsafe_code)]

use std::ffi::CString;

use cluster::jobs::{Job, JobCommand, JobId, JobKind, JobRefusal, Jobs};
use cluster::{LogIndex, NodeId};
use pgrx::prelude::*;
use raft::Request;

use super::older::{older_job, waits_for};
use super::{log, submit};
use crate::catalog::registry;
use crate::compat;
use crate::membership::{current_user, my_identity, my_identity_if_any, random_hex};
use crate::report::{OrRaise, Report};
use crate::worker::{self, ask_log};

/// All jobs as a JSON array; empty outside of a cluster.
#[pg_extern(sql = false)]
fn jobs_json() -> String {
    if my_identity_if_any().or_raise().is_none() {
        return "[]".to_owned();
    }
    let (_, metadata) = ask_log(LogIndex(0), std::time::Duration::ZERO).or_raise();
    let jobs = metadata.jobs().all().map(|job| {
        let nodes = job.tasks.iter().map(|(node, task)| {
            serde_json::json!({
                "node": node,
                "task": task.what,
                "status": task.status.as_str(),
                "detail": task.detail,
            })
        });
        serde_json::json!({
            "id": job.id,
            "cmd_type": job.kind.name(),
            "cmd_opts": job.kind.options(),
            "status": job.status.as_str(),
            "is_ending": job.ending.is_some(),
            "message": message(job, metadata.jobs()).or_raise(),
            "owner": job.owner,
            "driver": job.driver,
            "attempt": job.attempt,
            "state": job.state,
            "progress": serde_json::Value::from_iter(nodes),
            "submitted_at": job.submitted_at,
            "started_at": job.started_at,
            "ended_at": job.ended_at,
        })
    });
    serde_json::Value::from_iter(jobs).to_string()
}

/// What went wrong last or what the job waits for.
fn message(job: &Job, jobs: &Jobs) -> Result<String, Report> {
    if job.status.is_over() || !job.message.is_empty() {
        return Ok(job.message.clone());
    }
    Ok(older_job(job, jobs)?.map(|older| waits_for(older, jobs)).unwrap_or_default())
}

/// Waits until a job is over and returns how it ended.
#[pg_extern(sql = false)]
fn wait_cmd(id: i64) -> &'static str {
    // The job may have to wait for what this transaction holds: its snapshot,
    // at least, which a statement that is alone needs no more.
    crate::membership::not_in_a_block("shardman.wait_cmd()").or_raise();
    compat::let_index_builds_pass();
    // What another node was told before this call is known here after it.
    worker::ask(&Request::Confirm).or_raise();
    submit::wait(job_id(id)).or_raise().status.as_str()
}

/// Has a job stop and take back what it has made.
#[pg_extern(sql = false)]
fn cancel_cmd(id: i64) {
    let change = || {
        let job = owned(job_id(id))?.id;
        submit::wait_until_applied(log::change(JobCommand::Cancel { job, at: log::now() })?)
    };
    change().or_raise()
}

/// Has a job that has failed or was canceled tried again.
#[pg_extern(sql = false)]
fn resume_cmd(id: i64) {
    let change = || {
        let job = owned(job_id(id))?.id;
        submit::wait_until_applied(log::change(JobCommand::Resume { job })?)
    };
    change().or_raise()
}

/// Takes a node out of the cluster. Returns the job's id.
#[pg_extern(sql = false)]
fn rm_node(id: i32, force: bool) -> i64 {
    let remove = || {
        let node = NodeId(u32::try_from(id).unwrap_or(0));
        let registry = registry()?;
        if registry.member(node).is_none() {
            let code = PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT;
            return Err(Report::new(code, format!("node {id} does not exist"))
                .hint("Look at shardman.nodes."));
        }
        // The node that goes cannot see its job through.
        let me = my_identity()?.node_id;
        let others = registry.members().iter().filter(|it| it.is_active && it.id != node);
        let mut others = others.map(|member| member.id);
        let home = if me == node { others.next() } else { Some(me) };
        let home = home.ok_or_else(|| {
            let code = PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
            Report::new(code, format!("node {id} is the only node of the cluster"))
        })?;
        let kind = JobKind::RemoveNode { node, force };
        submit::submit_as(kind, random_hex(16)?, current_user(), home)
    };
    remove().or_raise().0 as i64
}

fn job_id(id: i64) -> JobId {
    // Ids are counted from 1: a negative one is none that exists.
    JobId(u64::try_from(id).unwrap_or(0))
}

/// The job, if it is the current user's or of a role that it belongs to.
fn owned(id: JobId) -> Result<Job, Report> {
    let (_, metadata) = ask_log(LogIndex(0), std::time::Duration::ZERO)?;
    let job = metadata.jobs().get(id).ok_or(JobRefusal::Unknown { id }).map_err(log::refused)?;
    let owner = CString::new(&*job.owner).unwrap_or_default();
    // SAFETY: syscache look-ups by a NUL-terminated name.
    let is_allowed = unsafe {
        let (user, owner) = (pg_sys::GetUserId(), pg_sys::get_role_oid(owner.as_ptr(), true));
        pg_sys::superuser()
            || (owner != pg_sys::InvalidOid && pg_sys::has_privs_of_role(user, owner))
    };
    if !is_allowed {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of job {id}"),
        )
        .detail(format!("It was submitted by role \"{}\".", job.owner)));
    }
    Ok(job.clone())
}
