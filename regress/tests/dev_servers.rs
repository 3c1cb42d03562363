//! `shardmanctl dev` and its servers, without the extension: processes, files,
//! exit codes.

use std::fs;
use std::time::Duration;

use regress::{Shape, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(30);

fn plain(nodes: u16) -> anyhow::Result<TestCluster> {
    TestCluster::start(&Shape { nodes, is_plain: true, config: &["work_mem=5MB"] })
}

#[test]
fn up_is_repeatable_and_configures_what_a_cluster_needs() -> anyhow::Result<()> {
    let servers = plain(2)?;
    let again = servers.dev(&["up"])?;
    assert_eq!(again["message"], "already running");
    let session = servers.session(2)?;
    assert_eq!(session.value("SHOW wal_level")?, "logical");
    assert!(session.integer("SHOW max_prepared_transactions")? > 0);
    assert_eq!(session.value("SHOW listen_addresses")?, "127.0.0.1");
    assert_eq!(session.value("SHOW work_mem")?, "5MB");
    assert_eq!(session.value("SHOW fsync")?, "off");
    assert_eq!(session.value("SHOW server_encoding")?, "UTF8");
    Ok(())
}

#[test]
fn node_role_needs_its_password_where_others_are_trusted() -> anyhow::Result<()> {
    let servers = plain(1)?;
    servers.session(1)?.run("CREATE ROLE shardman_node LOGIN")?;
    let connstr = servers.connstr(1).replace("user=postgres", "user=shardman_node");
    assert!(regress::Session::open(&connstr).is_err());
    Ok(())
}

#[test]
fn down_and_up_keep_the_data() -> anyhow::Result<()> {
    let servers = plain(2)?;
    servers.session(1)?.run("CREATE TABLE kept AS SELECT 42 AS answer")?;
    servers.dev(&["down"])?;
    assert_eq!(servers.server_state(1)?, "stopped");
    assert_eq!(servers.dev(&["down"])?["message"], "already stopped");
    servers.dev(&["up"])?;
    assert_eq!(servers.session(1)?.integer("SELECT answer FROM kept")?, 42);
    Ok(())
}

#[test]
fn stop_and_start_touch_one_server() -> anyhow::Result<()> {
    let servers = plain(2)?;
    servers.on_node("stop", 1)?;
    assert_eq!(servers.server_state(1)?, "stopped");
    assert_eq!(servers.server_state(2)?, "running");
    assert!(servers.session(1).is_err());
    servers.on_node("start", 1)?;
    servers.session(1)?.run("SELECT 1")?;
    Ok(())
}

#[test]
fn kill_leaves_no_process_and_a_start_recovers() -> anyhow::Result<()> {
    let servers = plain(2)?;
    servers.session(1)?.run("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS i")?;
    // A backend at work is no reason to survive.
    let victim = servers.session(1)?;
    victim.run("SET application_name = 'at work'")?;
    servers.on_node("kill", 1)?;
    assert_eq!(servers.server_state(1)?, "stopped");
    assert!(victim.run("SELECT 1").is_err());
    servers.session(2)?.run("SELECT 1")?;
    servers.on_node("start", 1)?;
    assert_eq!(servers.session(1)?.integer("SELECT count(*) FROM kept")?, 1000);
    Ok(())
}

#[test]
fn pause_holds_an_answer_back_and_resume_delivers_it() -> anyhow::Result<()> {
    let servers = plain(1)?;
    let session = servers.session(1)?;
    servers.on_node("pause", 1)?;
    assert_eq!(servers.server_state(1)?, "paused");
    let answer = std::thread::spawn(move || session.integer("SELECT 7"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!answer.is_finished(), "a paused server answered");
    servers.on_node("resume", 1)?;
    eventually("an answer after resume", BOUND, || Ok(answer.is_finished().then_some(())))?;
    assert_eq!(answer.join().expect("the thread does not panic")?, 7);
    Ok(())
}

#[test]
fn a_paused_server_can_be_stopped() -> anyhow::Result<()> {
    let servers = plain(1)?;
    servers.on_node("pause", 1)?;
    servers.on_node("stop", 1)?;
    assert_eq!(servers.server_state(1)?, "stopped");
    Ok(())
}

#[test]
fn add_starts_one_more() -> anyhow::Result<()> {
    let servers = plain(1)?;
    servers.dev(&["add"])?;
    assert_eq!(servers.count()?, 2);
    servers.session(2)?.run("SELECT 1")?;
    Ok(())
}

#[test]
fn exit_codes_tell_what_went_wrong() -> anyhow::Result<()> {
    let servers = plain(1)?;
    let code = |arguments: &[&str]| anyhow::Ok(servers.ctl_output(arguments)?.status.code());
    let port = format!("port={}", servers.port(1));
    let nobody = format!("port={}", servers.port(9));
    let dir = servers.dir().to_str().expect("a UTF-8 path");
    assert_eq!(code(&["dev", "status", "--dir", dir])?, Some(0));
    assert_eq!(code(&["status"])?, Some(2), "no node named");
    assert_eq!(code(&["dev", "up"])?, Some(2), "no directory named");
    assert_eq!(code(&["status", "port=many"])?, Some(2), "nonsense");
    assert_eq!(code(&["status", &nobody])?, Some(3), "nobody listens");
    assert_eq!(code(&["status", &port])?, Some(4), "not a member of a cluster");
    assert_eq!(code(&["dev", "kill", "--dir", dir, "--node", "5"])?, Some(4), "no such node");
    assert_eq!(code(&["dev", "up", "--dir", dir, "--nodes", "2"])?, Some(4), "another shape");
    Ok(())
}

#[test]
fn destroy_deletes_only_what_up_made() -> anyhow::Result<()> {
    let servers = plain(1)?;
    let precious = tempfile::tempdir()?;
    fs::write(precious.path().join("thesis"), "years of work")?;
    let dir = precious.path().to_str().expect("a UTF-8 path");
    for command in ["destroy", "up", "down"] {
        let output = servers.ctl_output(&["dev", command, "--dir", dir])?;
        assert_eq!(output.status.code(), Some(4), "dev {command}");
    }
    assert!(precious.path().join("thesis").exists());
    servers.dev(&["destroy"])?;
    assert!(!servers.dir().exists());
    Ok(())
}
