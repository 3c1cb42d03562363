//! The workloads of issue 3, section "Fast", and of issues 4 and 6, "Numbers to show".

use crate::keys::Keys;
use crate::system::Kind;
use crate::workload::{Data, Target, Work, Workload};

const LOCAL: &[u16] = &[1];
const REMOTE: &[u16] = &[2, 3];
const ALL: &[u16] = &[1, 2, 3];

/// All workloads: those that only read first, so that they find the tables as
/// they were loaded.
pub fn workloads(keys: &Keys) -> Vec<Workload> {
    let mut all = queries();
    all.extend(replicated());
    for clients in [8, 1] {
        all.extend(transactions(keys, clients));
    }
    all.extend(PLANNED.iter().map(|(name, description, table)| Workload {
        name: (*name).to_owned(),
        description,
        targets: Vec::new(),
        data: Data::Whole,
        work: Work::Pgbench {
            script: format!(
                "\\set k random(1, 1000000)\nEXPLAIN SELECT v FROM {table} WHERE id = :k;\n"
            ),
            clients: 1,
        },
    }));
    all
}

/// Issue 6: with 240 and 1000 partitions at most 1.2 of what it takes with 24.
const PLANNED: &[(&str, &str, &str)] = &[
    ("plan_24", "planning (EXPLAIN) of a point SELECT, 24 partitions", "planned_24"),
    ("plan_240", "the same with 240 partitions", "planned_240"),
    ("plan_1000", "the same with 1000 partitions", "planned_1000"),
];

fn queries() -> Vec<Workload> {
    let query = |name: &str, description, bound, sql: &str| Workload {
        name: name.to_owned(),
        description,
        targets: vec![(Kind::Stock, Target::AtMost(bound))],
        data: Data::Whole,
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
            targets: vec![(Kind::Stock, Target::AtMost(0.5))],
            data: Data::Whole,
            work: Work::Query {
                sql: "INSERT INTO intake SELECT * FROM source".to_owned(),
                cleanup: Some("TRUNCATE intake"),
            },
        },
        Workload {
            name: "copy".to_owned(),
            description: "COPY of 2M rows from the client",
            targets: vec![(Kind::Stock, Target::AtMost(0.05))],
            data: Data::Whole,
            work: Work::Copy,
        },
    ]
}

/// Issue 7. The other side of the updates is a client that keeps three servers
/// equal itself; that of the INSERT is one server, which does a third of the work.
fn replicated() -> Vec<Workload> {
    let updates = |name: &str, description, is_spread| Workload {
        name: name.to_owned(),
        description,
        targets: vec![(Kind::Stock, Target::AtLeast(0.8))],
        data: Data::Copies,
        work: Work::Replicated { clients: 8, is_spread },
    };
    vec![
        updates("replicated_update", "UPDATE of one row of three copies, from one server", false),
        updates("replicated_spread", "the same, clients spread over the servers", true),
        Workload {
            name: "replicated_insert".to_owned(),
            description: "INSERT of 100k rows into three copies; of plain into one",
            targets: vec![(Kind::Plain, Target::AtMost(7.5))],
            data: Data::Copies,
            work: Work::Query {
                sql: "INSERT INTO copied_intake SELECT * FROM copied_source".to_owned(),
                cleanup: Some("TRUNCATE copied_intake"),
            },
        },
    ]
}

fn transactions(keys: &Keys, clients: u32) -> Vec<Workload> {
    let suffix = if clients == 1 { "_1" } else { "" };
    let measured = |name: &str, description, asked: &[(Kind, f64)], script: String| Workload {
        name: format!("{name}{suffix}"),
        description,
        // The issues set their targets for 8 clients.
        targets: asked
            .iter()
            .filter(|_| clients == 8)
            .map(|(other, bound)| (*other, Target::AtLeast(*bound)))
            .collect(),
        data: Data::Whole,
        work: Work::Pgbench { script, clients },
    };
    // What is asked for beside stock, and beside plain.
    let workload = |name: &str, description, [stock, plain]: [f64; 2], script: String| {
        measured(name, description, &[(Kind::Stock, stock), (Kind::Plain, plain)], script)
    };
    let any_key = |servers| keys.script_constant("c", servers) + &keys.script_key("k", "c");
    let select = "SELECT balance FROM accounts WHERE id = :k;\n";
    let update = "UPDATE accounts SET balance = balance + 1 WHERE id = :k;\n";
    let insert = "INSERT INTO kv VALUES (:k, 'a new value');\n";
    let upsert = "INSERT INTO kv VALUES (:k, 'a new value') \
                  ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value;\n";
    let random = keys.script_constant("c", ALL) + &keys.script_key("k", "c");
    vec![
        measured("select", "point SELECT, random key", &[(Kind::Plain, 0.40)], random + select),
        workload(
            "select_remote",
            "point SELECT, remote key",
            [3.0, 0.38],
            any_key(REMOTE) + select,
        ),
        workload("select_local", "point SELECT, local key", [1.0, 0.75], any_key(LOCAL) + select),
        workload(
            "update_remote",
            "UPDATE of one row, remote key",
            [2.0, 0.38],
            any_key(REMOTE) + update,
        ),
        workload(
            "insert_remote",
            "INSERT of one row, remote key",
            [2.0, 0.38],
            keys.script_constant("c", REMOTE) + &Keys::script_new_key("k", "c") + insert,
        ),
        measured(
            "upsert_remote",
            "INSERT … ON CONFLICT DO UPDATE of one row, remote key",
            &[(Kind::Plain, 0.38)],
            any_key(REMOTE) + upsert,
        ),
        measured(
            "insert_serial",
            "INSERT of one row with a key of a sequence: any node",
            &[],
            "INSERT INTO numbered (value) VALUES ('a new value');\n".to_owned(),
        ),
        measured(
            "update_local",
            "UPDATE of one row, local key: a commit of one node",
            &[],
            any_key(LOCAL) + update,
        ),
        // Between two accounts of one remote node.
        measured(
            "four_statements",
            "transfer: BEGIN, 2 UPDATE, INSERT, SELECT, COMMIT on one remote node",
            &[(Kind::Stock, 1.8), (Kind::Plain, 0.35)],
            transfer(keys, [2, 2]),
        ),
        measured(
            "transfer_two",
            "the same between accounts of two other nodes",
            &[(Kind::Plain, 0.25)],
            transfer(keys, [2, 3]),
        ),
    ]
}

/// A transfer between an account on each of two servers. The accounts are taken
/// in the order of server and key: no deadlocks.
fn transfer(keys: &Keys, servers: [u16; 2]) -> String {
    let [first, second] = servers;
    let in_order = if first == second {
        "\\set a least(:k1, :k2)\n\\set b greatest(:k1, :k2)\n"
    } else {
        "\\set a :k1\n\\set b :k2\n"
    };
    [
        &keys.script_constant("c1", &[first]),
        &keys.script_key("k1", "c1"),
        &keys.script_constant("c2", &[second]),
        &keys.script_key("k2", "c2"),
        in_order,
        &keys.script_constant("c3", &[first]),
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
