//! The subcommands of `shardmanctl dev`: each opens the cluster, does one
//! thing and reports.

use std::fs;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::binaries::Binaries;
use super::cluster::Cluster;
use super::membership;
use super::process::Activity;
use super::settings;
use super::state::{MARKER, Node, State};
use crate::cli::{
    AddArguments, DevCommand, DirArguments, DownArguments, NodeArguments, StartArguments,
    StopArguments, StopMode, UpArguments, WaitArguments,
};
use crate::exit::Refused;
use crate::output::{Output, table};

const DEFAULT_NODES: u16 = 3;
const DEFAULT_BASE_PORT: u16 = 15501;

/// Carries out one subcommand.
pub fn run(command: DevCommand, output: Output) -> anyhow::Result<()> {
    match command {
        DevCommand::Up(arguments) => up(arguments, output),
        DevCommand::Add(arguments) => add(&arguments, output),
        DevCommand::Status(arguments) => status(&arguments, output),
        DevCommand::Down(arguments) => down(&arguments, output),
        DevCommand::Destroy(arguments) => destroy(&arguments, output),
        DevCommand::Stop(arguments) => stop(&arguments, output),
        DevCommand::Start(arguments) => start(&arguments, output),
        DevCommand::Kill(arguments) => kill(&arguments, output),
        DevCommand::Pause(arguments) => pause(&arguments, output),
        DevCommand::Resume(arguments) => resume(&arguments, output),
    }
}

fn up(arguments: UpArguments, output: Output) -> anyhow::Result<()> {
    let dir = &arguments.dir.dir;
    let mut cluster = if dir.join(MARKER).exists() {
        let cluster = Cluster::open(dir)?;
        check_same_shape(&cluster.state, &arguments)?;
        cluster
    } else {
        let binaries = Binaries::find(arguments.pg_bindir.as_deref())?;
        Cluster::create(dir, binaries, |binaries| new_state(&arguments, binaries))?
    };
    bring_up(&mut cluster, output, &arguments.wait)
}

fn new_state(arguments: &UpArguments, binaries: &Binaries) -> anyhow::Result<State> {
    let count = arguments.nodes.unwrap_or(DEFAULT_NODES);
    let base_port = arguments.base_port.unwrap_or(DEFAULT_BASE_PORT);
    let mut state = State::new(count, base_port, binaries.dir().to_path_buf())?;
    state.is_plain = arguments.plain;
    state.is_durable = !arguments.no_fsync;
    state.peer_host.clone_from(&arguments.peer_host);
    state.config.clone_from(&arguments.config);
    Ok(state)
}

/// What exists keeps its shape: an argument that says otherwise is refused
/// rather than ignored.
fn check_same_shape(state: &State, arguments: &UpArguments) -> anyhow::Result<()> {
    let dir = arguments.dir.dir.display();
    let count = state.nodes.len();
    if arguments.nodes.is_some_and(|nodes| usize::from(nodes) != count) {
        bail!(Refused(format!("the cluster in {dir} has {count} nodes; dev add adds one")));
    }
    if arguments.base_port.is_some_and(|port| port != state.base_port) {
        bail!(Refused(format!("the cluster in {dir} has the base port {}", state.base_port)));
    }
    if arguments.plain && !state.is_plain {
        bail!(Refused(format!("the servers in {dir} are a cluster, not plain ones")));
    }
    if arguments.peer_host.is_some() && arguments.peer_host != state.peer_host {
        bail!(Refused(format!("the nodes in {dir} reach each other at another address")));
    }
    if !arguments.config.is_empty() && arguments.config != state.config {
        bail!(Refused(format!(
            "the cluster in {dir} was made with other settings; change them with ALTER SYSTEM"
        )));
    }
    Ok(())
}

fn add(arguments: &AddArguments, output: Output) -> anyhow::Result<()> {
    let mut cluster = Cluster::open(&arguments.dir.dir)?;
    let index = cluster.state.add_node()?;
    cluster.server(&cluster.state.nodes[index]).check_port()?;
    // Remembered first: after an interruption `dev up` goes on from here.
    cluster.state.save(&cluster.dir)?;
    bring_up(&mut cluster, output, &arguments.wait)
}

/// Everything that is missing to a running cluster; nothing else.
fn bring_up(cluster: &mut Cluster, output: Output, wait: &WaitArguments) -> anyhow::Result<()> {
    let run_dir = cluster.dir.join("run");
    if settings::socket_dir(&run_dir).is_none() {
        output.progress("no Unix sockets: the path of the directory is too long for them");
    }
    if cluster.state.nodes.iter().any(|node| !node.is_initialized) {
        output.progress(&format!("making servers in {} …", cluster.dir.display()));
    }
    cluster.initialize_missing()?;
    let started = cluster
        .at_the_same_time(cluster.state.nodes.iter(), |server| server.start(wait.timeout))?
        .into_iter()
        .filter(|was_started| *was_started)
        .count();
    if !cluster.state.is_plain {
        membership::form(cluster, output, wait.timeout)?;
    }
    let headline = match (started, cluster.state.is_plain) {
        (0, _) => "already running",
        (_, true) => "running, each for itself",
        (_, false) => "every node is active",
    };
    report(cluster, headline, output)
}

/// Prints what a client needs to know about each node.
fn report(cluster: &Cluster, headline: &str, output: Output) -> anyhow::Result<()> {
    let nodes = cluster.state.nodes.iter().map(|node| describe(cluster, node));
    let nodes = nodes.collect::<anyhow::Result<Vec<Value>>>()?;
    let document = json!({
        "dir": cluster.dir,
        "plain": cluster.state.is_plain,
        "message": headline,
        "nodes": nodes,
    });
    output.print(&document, |_| {
        let mut table = table(&["node", "state", "connection string"]);
        for (node, description) in cluster.state.nodes.iter().zip(&nodes) {
            let state = description["state"].as_str().unwrap_or_default();
            table.add_row([&node.number.to_string(), state, &node.connstr()]);
        }
        format!("{}: {headline}\n{table}", cluster.dir.display())
    })
}

fn describe(cluster: &Cluster, node: &Node) -> anyhow::Result<Value> {
    let server = cluster.server(node);
    let state = match server.processes().activity()? {
        Activity::Running => "running",
        Activity::Paused => "paused",
        Activity::Stopped => "stopped",
        Activity::Orphaned => "orphaned",
    };
    Ok(json!({
        "node": node.number,
        "id": node.member_id,
        "port": node.port,
        "state": state,
        "connstr": node.connstr(),
        "data": server.data_dir(),
        "log": server.log_file(),
    }))
}

fn status(arguments: &DirArguments, output: Output) -> anyhow::Result<()> {
    let cluster = Cluster::open_unlocked(&arguments.dir)?;
    let count = cluster.state.nodes.len();
    report(&cluster, &format!("{count} nodes"), output)
}

fn down(arguments: &DownArguments, output: Output) -> anyhow::Result<()> {
    let cluster = Cluster::open(&arguments.dir.dir)?;
    let stopped = cluster
        .at_the_same_time(cluster.state.nodes.iter(), |server| {
            server.stop(arguments.mode, arguments.wait.timeout)
        })?
        .into_iter()
        .filter(|was_stopped| *was_stopped)
        .count();
    let headline = if stopped == 0 { "already stopped" } else { "stopped" };
    report(&cluster, headline, output)
}

fn destroy(arguments: &DirArguments, output: Output) -> anyhow::Result<()> {
    if !arguments.dir.exists() {
        return done(output, &format!("there is no {}", arguments.dir.display()));
    }
    let cluster = Cluster::open(&arguments.dir)?;
    cluster.at_the_same_time(cluster.state.nodes.iter(), |server| {
        // Immediate mode gives shared memory back, which a kill does not; the
        // kill is for a server that cannot be stopped any more.
        let bound = std::time::Duration::from_secs(20);
        if server.stop(StopMode::Immediate, bound).is_err() {
            server.processes().kill()?;
        }
        Ok(())
    })?;
    fs::remove_dir_all(&cluster.dir)
        .with_context(|| format!("could not remove {}", cluster.dir.display()))?;
    done(output, &format!("{} is gone", cluster.dir.display()))
}

fn stop(arguments: &StopArguments, output: Output) -> anyhow::Result<()> {
    let cluster = Cluster::open(&arguments.node.dir.dir)?;
    let number = arguments.node.node;
    let was_running =
        cluster.server_numbered(number)?.stop(arguments.mode, arguments.wait.timeout)?;
    let word = if was_running { "stopped" } else { "was not running" };
    done(output, &format!("node {number} {word}"))
}

fn start(arguments: &StartArguments, output: Output) -> anyhow::Result<()> {
    let cluster = Cluster::open(&arguments.node.dir.dir)?;
    let number = arguments.node.node;
    let server = cluster.server_numbered(number)?;
    if !server.node.is_initialized {
        bail!(Refused(format!("node {number} was never completed; dev up goes on with it")));
    }
    let word = if server.start(arguments.wait.timeout)? { "started" } else { "already running" };
    done(output, &format!("node {number} {word}: {}", server.node.connstr()))
}

fn kill(arguments: &NodeArguments, output: Output) -> anyhow::Result<()> {
    let cluster = Cluster::open_unlocked(&arguments.dir.dir)?;
    let count = cluster.server_numbered(arguments.node)?.processes().kill()?;
    done(output, &format!("node {}: {count} processes killed", arguments.node))
}

fn pause(arguments: &NodeArguments, output: Output) -> anyhow::Result<()> {
    let cluster = Cluster::open_unlocked(&arguments.dir.dir)?;
    let count = cluster.server_numbered(arguments.node)?.processes().freeze()?;
    if count == 0 {
        bail!(Refused(format!("node {} is not running", arguments.node)));
    }
    done(output, &format!("node {}: {count} processes paused", arguments.node))
}

fn resume(arguments: &NodeArguments, output: Output) -> anyhow::Result<()> {
    let cluster = Cluster::open_unlocked(&arguments.dir.dir)?;
    let count = cluster.server_numbered(arguments.node)?.processes().thaw()?;
    if count == 0 {
        bail!(Refused(format!("node {} is not running", arguments.node)));
    }
    done(output, &format!("node {}: {count} processes resumed", arguments.node))
}

/// A command whose whole result is one sentence.
fn done(output: Output, message: &str) -> anyhow::Result<()> {
    output.print(&json!({ "message": message }), |_| message.to_owned())
}
