//! The workloads of issue 3, section "Fast".

use crate::keys::Keys;
use crate::workload::{Target, Work, Workload};

const LOCAL: &[u16] = &[1];
const REMOTE: &[u16] = &[2, 3];
/// Transactions of several statements stay on this one.
const ONE_REMOTE: &[u16] = &[2];

/// All workloads: those that only read first, so that they find the tables as
/// they were loaded.
pub fn workloads(keys: &Keys) -> Vec<Workload> {
    let mut all = queries();
    for clients in [8, 1] {
        all.extend(transactions(keys, clients));
    }
    all
}

fn queries() -> Vec<Workload> {
    let query = |name: &str, description, bound, sql: &str| Workload {
        name: name.to_owned(),
        description,
        target: Some(Target::AtMost(bound)),
        work: Work::Query { sql: sql.to_owned(), cleanup: None },
    };
    vec![
        query(
            "scan",
            "1M rows x 5 mixed columns to the server that asks, counted there",
            0.5,
            "SELECT count(*) FROM accounts
             WHERE columns_present(cust, balance, opened, score, note) = 5",
        ),
        query("count", "count(*) over 2M rows", 0.3, "SELECT count(*) FROM events"),
        query(
            "aggregate",
            "count, sum, avg of 1000 groups over 2M rows",
            0.3,
            "SELECT grp, count(*), sum(val), avg(val) FROM events GROUP BY grp",
        ),
        query(
            "order_limit",
            "ORDER BY an indexed column LIMIT 20 over all partitions",
            0.02,
            "SELECT * FROM events ORDER BY ts LIMIT 20",
        ),
        Workload {
            name: "insert_10k".to_owned(),
            description: "INSERT of 10k rows in one statement, from a local table",
            target: Some(Target::AtMost(0.5)),
            work: Work::Query {
                sql: "INSERT INTO intake SELECT * FROM source".to_owned(),
                cleanup: Some("TRUNCATE intake"),
            },
        },
        Workload {
            name: "copy".to_owned(),
            description: "COPY of 2M rows from the client",
            target: Some(Target::AtMost(0.05)),
            work: Work::Copy,
        },
    ]
}

fn transactions(keys: &Keys, clients: u32) -> Vec<Workload> {
    let suffix = if clients == 1 { "_1" } else { "" };
    let workload = |name: &str, description, bound: f64, script: String| Workload {
        name: format!("{name}{suffix}"),
        description,
        // Issue 3 sets its targets for 8 clients.
        target: (clients == 8).then_some(Target::AtLeast(bound)),
        work: Work::Pgbench { script, clients },
    };
    let any_key = |servers| keys.script_constant("c", servers) + &keys.script_key("k", "c");
    let select = "SELECT balance FROM accounts WHERE id = :k;\n";
    let update = "UPDATE accounts SET balance = balance + 1 WHERE id = :k;\n";
    let insert = "INSERT INTO kv VALUES (:k, 'a new value');\n";
    vec![
        workload("select_remote", "point SELECT, remote key", 3.0, any_key(REMOTE) + select),
        workload("select_local", "point SELECT, local key", 1.0, any_key(LOCAL) + select),
        workload("update_remote", "UPDATE of one row, remote key", 2.0, any_key(REMOTE) + update),
        workload(
            "insert_remote",
            "INSERT of one row, remote key",
            2.0,
            keys.script_constant("c", REMOTE) + &Keys::script_new_key("k", "c") + insert,
        ),
        workload(
            "four_statements",
            "BEGIN, 2 UPDATE, INSERT, SELECT, COMMIT on one remote node",
            1.8,
            four_statements(keys),
        ),
    ]
}

/// The accounts are taken in the order of their keys: no deadlocks.
fn four_statements(keys: &Keys) -> String {
    [
        &keys.script_constant("c1", ONE_REMOTE),
        &keys.script_key("k1", "c1"),
        &keys.script_constant("c2", ONE_REMOTE),
        &keys.script_key("k2", "c2"),
        "\\set a least(:k1, :k2)\n\\set b greatest(:k1, :k2)\n",
        &keys.script_constant("c3", ONE_REMOTE),
        &Keys::script_new_key("k", "c3"),
        "BEGIN;\n\
         UPDATE accounts SET balance = balance + 1 WHERE id = :a;\n\
         UPDATE accounts SET balance = balance - 1 WHERE id = :b;\n\
         INSERT INTO kv VALUES (:k, 'a new value');\n\
         SELECT balance FROM accounts WHERE id = :a;\n\
         COMMIT;\n",
    ]
    .concat()
}
