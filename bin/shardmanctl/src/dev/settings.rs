//! The configuration of a development server, as text. No I/O here.

use std::path::Path;

use super::state::{Node, State};

/// PostgreSQL's limit for the path of a socket, without the final zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The directory for sockets, or none if its path would be too long: clients
/// then use 127.0.0.1, which they can always do.
pub fn socket_dir(run_dir: &Path) -> Option<&Path> {
    let longest = run_dir.join(".s.PGSQL.65535.lock");
    (longest.as_os_str().len() <= MAX_SOCKET_PATH_BYTES).then_some(run_dir)
}

/// What is included at the end of postgresql.conf.
pub fn postgresql_conf(state: &State, node: &Node, run_dir: &Path) -> String {
    let sockets = socket_dir(run_dir).map(|dir| dir.display().to_string()).unwrap_or_default();
    let mut settings: Vec<(&str, String)> = vec![
        ("listen_addresses", "127.0.0.1".into()),
        ("port", node.port.to_string()),
        ("unix_socket_directories", sockets),
        ("max_connections", "100".into()),
        ("shared_buffers", "128MB".into()),
        ("max_worker_processes", "16".into()),
        ("wal_level", "logical".into()),
        ("max_wal_senders", "20".into()),
        ("max_replication_slots", "20".into()),
        // One for each session that can hold a distributed transaction.
        ("max_prepared_transactions", "200".into()),
        // A sharded table locks each of its partitions.
        ("max_locks_per_transaction", "256".into()),
        ("log_line_prefix", "%m [%p] %q%u@%d %a ".into()),
    ];
    if !state.is_durable {
        settings.push(("fsync", "off".into()));
    }
    if !state.is_plain {
        settings.push(("shared_preload_libraries", "shardman".into()));
        settings.push(("shardman.database", "postgres".into()));
    }
    let own = settings.iter().map(|(key, value)| (*key, value.as_str()));
    // The user's come last: the last one of several wins.
    let users = state.config.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut text =
        String::from("# Written by shardmanctl dev; postgresql.auto.conf wins over it.\n");
    for (key, value) in own.chain(users) {
        text.push_str(&format!("{key} = '{}'\n", value.replace('\\', "\\\\").replace('\'', "''")));
    }
    text
}

/// The whole pg_hba.conf. The node role proves itself even here, so that a
/// node session is recognised by its authentication in development as well.
pub fn pg_hba_conf() -> &'static str {
    "# Written by shardmanctl dev. No passwords: for development on one machine.
# TYPE  DATABASE     USER           ADDRESS        METHOD
local   all          shardman_node                 scram-sha-256
host    all          shardman_node  127.0.0.1/32   scram-sha-256
host    all          shardman_node  ::1/128        scram-sha-256
local   all          all                           trust
host    all          all            127.0.0.1/32   trust
host    all          all            ::1/128        trust
local   replication  all                           trust
host    replication  all            127.0.0.1/32   trust
host    replication  all            ::1/128        trust
"
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn conf(change: impl FnOnce(&mut State)) -> String {
        let mut state = State::new(1, 7600, PathBuf::new()).unwrap();
        change(&mut state);
        postgresql_conf(&state, &state.nodes[0], Path::new("/tmp/x/run"))
    }

    #[test]
    fn user_settings_come_last_and_are_quoted() {
        let text = conf(|state| state.config = vec![("a.b".into(), r"it's \d".into())]);
        assert!(text.ends_with("a.b = 'it''s \\\\d'\n"), "{text}");
    }

    #[test]
    fn plain_servers_do_not_preload_the_extension() {
        assert!(conf(|_| ()).contains("shared_preload_libraries = 'shardman'"));
        assert!(!conf(|state| state.is_plain = true).contains("shardman."));
    }

    #[test]
    fn long_directory_means_no_socket() {
        assert!(socket_dir(Path::new("/tmp/short/run")).is_some());
        assert!(socket_dir(Path::new(&format!("/tmp/{}/run", "x".repeat(90)))).is_none());
    }

    #[test]
    fn node_role_stands_before_the_trusting_lines() {
        let hba = pg_hba_conf();
        let last_role = hba.rfind("shardman_node").unwrap();
        assert!(last_role < hba.find("trust").unwrap());
    }
}
