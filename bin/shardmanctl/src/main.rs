//! The operators' command line: reads the arguments, runs one command and
//! turns its result into an exit code. What the commands do is in `dev`
//! (clusters for development on this machine), `inspect` (asking a cluster) and
//! `rebalance` (moving partitions).

mod cli;
mod connect;
mod dev;
mod dump;
mod exit;
mod inspect;
mod output;
mod rebalance;

use std::process::ExitCode;

use clap::Parser;

use cli::{Arguments, Command};

fn main() -> ExitCode {
    // clap prints its own message for a usage error and exits with 2.
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shardmanctl: {error:#}");
            ExitCode::from(exit::code_of(&error))
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let output = output::Output { is_json: arguments.json };
    match arguments.command {
        Command::Dev(command) => dev::run(command, output),
        Command::Status(target) => inspect::status(&target, output),
        Command::Nodes(arguments) => match arguments.command {
            Some(cli::NodesCommand::Rm(removal)) => inspect::remove_node(&removal, output),
            Some(cli::NodesCommand::Drain(drain)) => rebalance::drain(&drain, output),
            None => inspect::nodes(&arguments.target, output),
        },
        Command::Rebalance(arguments) => rebalance::rebalance(&arguments, output),
        Command::Tables(target) => inspect::tables(&target, output),
        Command::Dump(arguments) => dump::dump(&arguments),
    }
}
