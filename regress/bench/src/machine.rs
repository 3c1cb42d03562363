//! Where and when the numbers were made.

use std::fs;
use std::process::Command;

use crate::tools::output;

/// What the report says about this machine.
pub struct Machine {
    /// Processor, cores, memory.
    pub hardware: String,
    /// Operating system and kernel.
    pub system: String,
    /// Today.
    pub date: String,
    /// The commit that was measured, as far as git knows.
    pub commit: String,
    /// The load when the benchmark began.
    pub load: String,
}

impl Machine {
    /// This one, now.
    pub fn describe() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let memory = field("/proc/meminfo", "MemTotal:")
            .split_whitespace()
            .next()
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
            .map_or(0, |kilobytes| kilobytes.div_ceil(1024 * 1024));
        let name = field("/proc/cpuinfo", "model name");
        let name = name.trim_start_matches([':', ' ', '\t']);
        let os = field("/etc/os-release", "PRETTY_NAME=");
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            hardware: format!("{cores} cores of {name}, {memory} GiB of memory"),
            system: format!("{}, Linux {}", os.trim_matches('"'), kernel.trim()),
            date: run("date", &["--utc", "+%Y-%m-%d %H:%M UTC"]),
            commit: run("git", &["describe", "--always", "--dirty"]),
            load: load(),
        }
    }
}

impl Machine {
    /// Whether others kept a core or more busy before the benchmark began.
    pub fn is_busy(&self) -> bool {
        self.load.parse::<f64>().is_ok_and(|load| load >= 1.0)
    }
}

/// The average number of processes that ran or wanted to, over a minute.
pub fn load() -> String {
    read("/proc/loadavg").split(' ').next().unwrap_or("?").to_owned()
}

/// What follows `key` in the first line of `path` that starts with it.
fn field(path: &str, key: &str) -> String {
    let text = read(path);
    text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?").trim().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    output(command, program).unwrap_or_else(|_| "?".to_owned())
}
