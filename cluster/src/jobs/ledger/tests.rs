use super::*;
use crate::NodeId;

const ONE: JobId = JobId(1);

fn submit(jobs: &mut Jobs, key: &str) -> Answer {
    let kind = JobKind::RemoveNode { node: NodeId(9), force: false };
    let (key, owner) = (key.to_owned(), "alice".to_owned());
    jobs.apply(JobCommand::Submit { key, kind, owner, home: NodeId(1), at: 10 })
}

fn claim(jobs: &mut Jobs, node: u32, after: u64) -> Answer {
    jobs.apply(JobCommand::Claim { job: ONE, node: NodeId(node), after, at: 20 })
}

fn finish(jobs: &mut Jobs, attempt: u64) -> Answer {
    jobs.apply(JobCommand::Finish { job: ONE, attempt, left_out: String::new(), at: 30 })
}

fn save(jobs: &mut Jobs, attempt: u64) -> Answer {
    let (state, message) = ("here".to_owned(), String::new());
    jobs.apply(JobCommand::Save { job: ONE, attempt, state, message })
}

fn assign(jobs: &mut Jobs, attempt: u64, nodes: &[u32]) -> Answer {
    let tasks = nodes.iter().map(|node| (NodeId(*node), "build".to_owned())).collect();
    jobs.apply(JobCommand::Assign { job: ONE, attempt, tasks })
}

fn report(jobs: &mut Jobs, round: u64, node: u32, status: TaskStatus) -> Answer {
    let (node, detail) = (NodeId(node), String::new());
    jobs.apply(JobCommand::Report { job: ONE, round, node, status, detail })
}

fn cancel(jobs: &mut Jobs) -> Answer {
    jobs.apply(JobCommand::Cancel { job: ONE, at: 25 })
}

fn status(jobs: &Jobs) -> JobStatus {
    jobs.get(ONE).expect("submitted").status
}

const OUTDATED: Answer = Err(JobRefusal::Outdated { id: ONE });

/// One job, driven by node 1 as attempt 1.
fn claimed() -> Jobs {
    let mut jobs = Jobs::default();
    submit(&mut jobs, "k").expect("submitted");
    assert_eq!(claim(&mut jobs, 1, 0), Ok(Some(JobAnswer::Claimed { attempt: 1 })));
    jobs
}

#[test]
fn a_repeated_submission_is_the_same_job() {
    let mut jobs = Jobs::default();
    assert_eq!(submit(&mut jobs, "k"), Ok(Some(JobAnswer::Submitted { id: ONE })));
    assert_eq!(submit(&mut jobs, "k"), Ok(Some(JobAnswer::Submitted { id: ONE })));
    assert_eq!(submit(&mut jobs, "l"), Ok(Some(JobAnswer::Submitted { id: JobId(2) })));
}

#[test]
fn of_two_nodes_that_take_a_job_over_one_gets_it() {
    let mut jobs = claimed();
    assert_eq!(claim(&mut jobs, 2, 1), Ok(Some(JobAnswer::Claimed { attempt: 2 })));
    assert_eq!(claim(&mut jobs, 3, 1), OUTDATED);
}

#[test]
fn an_outdated_attempt_changes_nothing() {
    let mut jobs = claimed();
    claim(&mut jobs, 2, 1).expect("taken over");
    let before = jobs.clone();
    assert_eq!(save(&mut jobs, 1), OUTDATED);
    assert_eq!(assign(&mut jobs, 1, &[1]), OUTDATED);
    assert_eq!(finish(&mut jobs, 1), OUTDATED);
    let message = "late".to_owned();
    assert_eq!(jobs.apply(JobCommand::Fail { job: ONE, attempt: 1, message }), OUTDATED);
    assert_eq!(jobs, before);
    assert_eq!(save(&mut jobs, 2), Ok(None));
}

#[test]
fn a_job_that_nobody_has_begun_is_canceled_at_once() {
    let mut jobs = Jobs::default();
    submit(&mut jobs, "k").expect("submitted");
    cancel(&mut jobs).expect("canceled");
    assert_eq!(status(&jobs), JobStatus::Canceled);
    let over = JobRefusal::Over { id: ONE, status: JobStatus::Canceled };
    assert_eq!(claim(&mut jobs, 1, 0), Err(over));
}

#[test]
fn a_cancel_revokes_the_attempt_and_the_next_one_cleans_up() {
    let mut jobs = claimed();
    assert_eq!(assign(&mut jobs, 1, &[1, 2]), Ok(Some(JobAnswer::Assigned { round: 1 })));
    report(&mut jobs, 1, 2, TaskStatus::Done).expect("reported");
    cancel(&mut jobs).expect("canceled");
    assert_eq!(status(&jobs), JobStatus::InProgress);
    assert_eq!(save(&mut jobs, 1), OUTDATED);
    assert_eq!(save(&mut jobs, 2), OUTDATED, "a revoked attempt is nobody's");
    assert_eq!(report(&mut jobs, 1, 1, TaskStatus::Done), OUTDATED);
    let attempt = jobs.get(ONE).expect("there").attempt;
    claim(&mut jobs, 2, attempt).expect("claimed");
    finish(&mut jobs, attempt + 1).expect("finished");
    assert_eq!(status(&jobs), JobStatus::Canceled);
}

#[test]
fn a_second_cancel_lets_the_cleaning_up_go_on() {
    let mut jobs = claimed();
    cancel(&mut jobs).expect("canceled");
    claim(&mut jobs, 1, 2).expect("claimed");
    cancel(&mut jobs).expect("no harm");
    assert_eq!(save(&mut jobs, 3), Ok(None));
}

#[test]
fn reports_of_another_round_are_refused() {
    let mut jobs = claimed();
    assign(&mut jobs, 1, &[1, 2]).expect("assigned");
    assign(&mut jobs, 1, &[1, 2]).expect("assigned again");
    assert_eq!(report(&mut jobs, 1, 1, TaskStatus::Done), OUTDATED);
    assert_eq!(report(&mut jobs, 2, 1, TaskStatus::Done), Ok(None));
    assert_eq!(report(&mut jobs, 2, 1, TaskStatus::InProgress), OUTDATED, "it was done");
    assert_eq!(report(&mut jobs, 2, 3, TaskStatus::Done), OUTDATED, "it had no task");
}

#[test]
fn a_failure_is_cleaned_up_by_the_same_attempt_and_keeps_its_reason() {
    let mut jobs = claimed();
    let message = "no room".to_owned();
    jobs.apply(JobCommand::Fail { job: ONE, attempt: 1, message }).expect("failed");
    assert_eq!(status(&jobs), JobStatus::InProgress);
    finish(&mut jobs, 1).expect("finished");
    assert_eq!(status(&jobs), JobStatus::Failed);
    assert_eq!(jobs.get(ONE).expect("there").message, "no room");
}

#[test]
fn what_failed_can_be_resumed_and_what_succeeded_cannot() {
    let mut jobs = claimed();
    let running = JobRefusal::NotResumable { id: ONE, status: JobStatus::InProgress };
    assert_eq!(jobs.apply(JobCommand::Resume { job: ONE }), Err(running));
    let message = "no room".to_owned();
    jobs.apply(JobCommand::Fail { job: ONE, attempt: 1, message }).expect("failed");
    finish(&mut jobs, 1).expect("finished");
    jobs.apply(JobCommand::Resume { job: ONE }).expect("resumed");
    assert_eq!(status(&jobs), JobStatus::Waiting);
    let attempt = jobs.get(ONE).expect("there").attempt;
    claim(&mut jobs, 2, attempt).expect("claimed");
    finish(&mut jobs, attempt + 1).expect("finished");
    let success = JobRefusal::NotResumable { id: ONE, status: JobStatus::Success };
    assert_eq!(jobs.apply(JobCommand::Resume { job: ONE }), Err(success));
}

#[test]
fn a_resumed_job_that_nobody_has_begun_again_is_canceled_by_cleaning_up() {
    let mut jobs = claimed();
    let message = "no room".to_owned();
    jobs.apply(JobCommand::Fail { job: ONE, attempt: 1, message }).expect("failed");
    finish(&mut jobs, 1).expect("finished");
    jobs.apply(JobCommand::Resume { job: ONE }).expect("resumed");
    cancel(&mut jobs).expect("canceled");
    assert_eq!(status(&jobs), JobStatus::InProgress);
}

#[test]
fn only_so_many_ended_jobs_are_remembered() {
    let mut jobs = Jobs::default();
    for key in 0..HISTORY + 5 {
        submit(&mut jobs, &key.to_string()).expect("submitted");
    }
    // The first is not over and stays, however old it is.
    for id in 2..=HISTORY as u64 + 5 {
        let job = JobId(id);
        jobs.apply(JobCommand::Claim { job, node: NodeId(1), after: 0, at: 0 }).expect("claimed");
        let left_out = String::new();
        jobs.apply(JobCommand::Finish { job, attempt: 1, left_out, at: 0 }).expect("finished");
    }
    assert_eq!(jobs.all().count(), HISTORY + 1);
    assert!(jobs.get(ONE).is_some() && jobs.get(JobId(2)).is_none());
}
