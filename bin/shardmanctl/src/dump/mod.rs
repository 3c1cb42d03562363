//! `shardmanctl dump`: the database as SQL, for one plain PostgreSQL or for a
//! new cluster.
//!
//! pg_dump writes the schema of one node, without what is the cluster's own; of
//! sharded tables it writes the parents, which `rewrite` turns into plain tables
//! or into sharded ones. Rows of sharded tables are read by psql, all in one
//! transaction.

mod plan;
mod rewrite;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::cli::DumpArguments;
use crate::connect;
use crate::dev::Binaries;
use crate::inspect::Member;
use plan::Plan;
use rewrite::{Target, rewrite};

/// Schemas that CREATE EXTENSION or managed DDL makes.
const OWN_SCHEMAS: [&str; 3] = ["shardman", "shardman_data", "shardman_remote"];

/// Writes the dump.
pub fn dump(arguments: &DumpArguments) -> anyhow::Result<()> {
    let target = &arguments.target;
    let connstr = &target.connstr()?;
    let config = connect::parse(connstr)?;
    let plan = connect::runtime()?.block_on(async {
        let member = Member::open(config, target.connect_timeout).await?;
        Plan::read(&member).await
    })?;
    let programs = Programs { binaries: Binaries::find(arguments.pg_bindir.as_deref())?, connstr };
    let mut out: Box<dyn Write> = match &arguments.file {
        Some(path) => Box::new(
            File::create(path).with_context(|| format!("could not write {}", path.display()))?,
        ),
        None => Box::new(io::stdout()),
    };
    let kind = if arguments.plain { Target::Plain } else { Target::Cluster };
    out.write_all(b"SET client_min_messages = warning;\n")?;
    if kind == Target::Cluster {
        out.write_all(b"SET shardman.broadcast_ddl = on;\n")?;
    }
    let pre = programs.pg_dump("pre-data")?;
    out.write_all(rewrite(&pre, &plan.tables, kind).as_bytes())?;
    out.write_all(programs.pg_dump("data")?.as_bytes())?;
    out.write_all(&programs.psql(&plan.rows_script())?)?;
    out.write_all(&programs.psql(plan::POSITIONS)?)?;
    let post = programs.pg_dump("post-data")?;
    out.write_all(rewrite(&post, &plan.tables, kind).as_bytes())?;
    out.flush().context("could not write the dump")
}

struct Programs<'a> {
    binaries: Binaries,
    connstr: &'a str,
}

impl Programs<'_> {
    fn pg_dump(&self, section: &str) -> anyhow::Result<String> {
        let section = format!("--section={section}");
        let mut arguments = vec!["--dbname", self.connstr, &section, "--no-publications"];
        arguments.extend(OWN_SCHEMAS.iter().flat_map(|schema| ["--exclude-schema", *schema]));
        let output = run(self.binaries.program("pg_dump").as_os_str(), &arguments, "")?;
        String::from_utf8(output).context("the dump is not UTF-8")
    }

    /// What a script prints.
    fn psql(&self, script: &str) -> anyhow::Result<Vec<u8>> {
        let arguments = ["--dbname", self.connstr, "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"];
        run(self.binaries.program("psql").as_os_str(), &arguments, script)
    }
}

fn run(program: &OsStr, arguments: &[&str], input: &str) -> anyhow::Result<Vec<u8>> {
    let shown = program.to_string_lossy().into_owned();
    let mut child = Command::new(program)
        .args(arguments)
        .env("PGCLIENTENCODING", "UTF8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("could not run {shown}"))?;
    // Small enough for the pipe, and dropped, so that the program sees its end.
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        std::thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    }
    let output = child.wait_with_output().with_context(|| format!("{shown} was lost"))?;
    if !output.status.success() {
        bail!("{shown} ended with {}", output.status);
    }
    Ok(output.stdout)
}
