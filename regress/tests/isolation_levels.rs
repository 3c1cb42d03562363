//! The table of docs/isolation.md, row by row: what may happen at which level, in
//! transactions on one node and on several.

use std::thread::JoinHandle;
use std::time::Duration;

use regress::{PausedProcess, Session, TestCluster, db_error, eventually, keys_on_node};

const BOUND: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    ReadCommitted,
    RepeatableRead,
    RepeatableReadByNode,
    Serializable,
}

use Level::{ReadCommitted, RepeatableRead, RepeatableReadByNode, Serializable};

impl Level {
    fn begin(self) -> &'static str {
        match self {
            ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            RepeatableReadByNode => {
                "SET shardman.global_snapshot = off; BEGIN ISOLATION LEVEL REPEATABLE READ"
            }
            Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It happened.
    Yes,
    /// It did not, or a transaction was told to try again.
    No,
    /// A transaction was refused as a whole.
    Refused,
}

use Outcome::{No, Refused, Yes};

/// Two rows, `v = 0` at the start of each trial, and transactions from node 3.
struct Trial<'a> {
    cluster: &'a TestCluster,
    level: Level,
    x: i64,
    y: i64,
}

impl Trial<'_> {
    fn begin(&self) -> anyhow::Result<Transaction> {
        let session = self.cluster.session(3)?;
        session.run(self.level.begin())?;
        Ok(Transaction(session))
    }

    fn now(&self) -> anyhow::Result<(i64, i64)> {
        let t = Transaction(self.cluster.session(1)?);
        Ok((t.read(self.x)?, t.read(self.y)?))
    }

    fn set(&self, key: i64, v: i64) -> anyhow::Result<()> {
        Transaction(self.cluster.session(2)?).write(key, v)
    }
}

struct Transaction(Session);

impl Transaction {
    fn read(&self, key: i64) -> anyhow::Result<i64> {
        self.0.integer(&format!("SELECT v FROM kv WHERE id = {key}"))
    }

    fn write(&self, key: i64, v: i64) -> anyhow::Result<()> {
        self.0.run(&format!("UPDATE kv SET v = {v} WHERE id = {key}"))
    }

    fn commit(self) -> anyhow::Result<()> {
        self.0.run("COMMIT")
    }
}

fn happened(it: bool) -> Outcome {
    if it { Yes } else { No }
}

type Row = (&'static str, fn(&Trial<'_>) -> anyhow::Result<Outcome>, [(Level, [Outcome; 2]); 4]);

/// What the table says: for one node, for several.
const ROWS: [Row; 8] = [
    (
        "dirty write",
        dirty_write,
        [
            (ReadCommitted, [No, No]),
            (RepeatableRead, [No, No]),
            (RepeatableReadByNode, [No, No]),
            (Serializable, [No, Refused]),
        ],
    ),
    (
        "dirty read",
        dirty_read,
        [
            (ReadCommitted, [No, No]),
            (RepeatableRead, [No, No]),
            (RepeatableReadByNode, [No, No]),
            (Serializable, [No, Refused]),
        ],
    ),
    (
        "non-repeatable read",
        non_repeatable_read,
        [
            (ReadCommitted, [Yes, Yes]),
            (RepeatableRead, [No, No]),
            (RepeatableReadByNode, [No, No]),
            (Serializable, [No, Refused]),
        ],
    ),
    (
        "half of a transaction",
        half_of_a_transaction,
        [
            (ReadCommitted, [No, Yes]),
            (RepeatableRead, [No, No]),
            (RepeatableReadByNode, [No, Yes]),
            (Serializable, [No, Refused]),
        ],
    ),
    (
        "lost update",
        lost_update,
        [
            (ReadCommitted, [Yes, Yes]),
            (RepeatableRead, [No, No]),
            (RepeatableReadByNode, [No, No]),
            (Serializable, [No, Refused]),
        ],
    ),
    (
        "read skew",
        read_skew,
        [
            (ReadCommitted, [Yes, Yes]),
            (RepeatableRead, [No, No]),
            (RepeatableReadByNode, [No, Yes]),
            (Serializable, [No, Refused]),
        ],
    ),
    (
        "long fork",
        long_fork,
        [
            (ReadCommitted, [Yes, Yes]),
            (RepeatableRead, [No, No]),
            (RepeatableReadByNode, [No, Yes]),
            (Serializable, [No, Refused]),
        ],
    ),
    (
        "write skew",
        write_skew,
        [
            (ReadCommitted, [Yes, Yes]),
            (RepeatableRead, [Yes, Yes]),
            (RepeatableReadByNode, [Yes, Yes]),
            (Serializable, [No, Refused]),
        ],
    ),
];

#[test]
fn the_table_in_the_docs_holds() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE kv (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 3);
         INSERT INTO kv SELECT g, 0 FROM generate_series(1, 200) g",
    )?;
    let first = keys_on_node(&cluster, "kv", 1)?;
    let second = keys_on_node(&cluster, "kv", 2)?;
    let places = [("one node", first[0], first[1]), ("several nodes", first[0], second[0])];
    let mut wrong = Vec::new();
    for (row, try_it, levels) in ROWS {
        for (level, expected) in levels {
            for ((place, x, y), expected) in places.into_iter().zip(expected) {
                session.run("UPDATE kv SET v = 0 WHERE v <> 0")?;
                let trial = Trial { cluster: &cluster, level, x, y };
                let found = match try_it(&trial) {
                    Ok(outcome) => outcome,
                    Err(error) => match db_error(&error).map(|e| e.code().code()) {
                        Some("0A000") => Refused,
                        Some("40001") => No,
                        _ => return Err(error.context(format!("{row}, {level:?}, {place}"))),
                    },
                };
                if found != expected {
                    wrong.push(format!("{row}, {level:?}, {place}: {found:?}, not {expected:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Both write both rows, the second while the first has not committed.
fn dirty_write(trial: &Trial<'_>) -> anyhow::Result<Outcome> {
    let (one, other) = (trial.begin()?, trial.begin()?);
    let (x, y) = (trial.x, trial.y);
    one.write(x, 1)?;
    let second = std::thread::spawn(move || {
        other.write(x, 2)?;
        other.write(y, 2)?;
        other.commit()
    });
    std::thread::sleep(Duration::from_millis(100));
    let first = one.write(y, 1).and_then(|()| one.commit());
    let second = second.join().expect("no panic");
    let (x, y) = trial.now()?;
    if x != y {
        return Ok(Yes);
    }
    first.and(second).map(|()| No)
}

fn dirty_read(trial: &Trial<'_>) -> anyhow::Result<Outcome> {
    let (writer, reader) = (trial.begin()?, trial.begin()?);
    writer.write(trial.x, 1)?;
    writer.write(trial.y, 1)?;
    let seen = reader.read(trial.x)? + reader.read(trial.y)?;
    writer.0.run("ROLLBACK")?;
    let seen = seen + reader.read(trial.x)? + reader.read(trial.y)?;
    reader.commit()?;
    Ok(happened(seen > 0))
}

fn non_repeatable_read(trial: &Trial<'_>) -> anyhow::Result<Outcome> {
    let reader = trial.begin()?;
    let before = (reader.read(trial.x)?, reader.read(trial.y)?);
    trial.set(trial.x, 1)?;
    trial.set(trial.y, 1)?;
    let after = (reader.read(trial.x)?, reader.read(trial.y)?);
    reader.commit()?;
    Ok(happened(before != after))
}

/// A writer whose commit is visible on node 1, while node 2, if it takes part,
/// has not heard of it yet.
fn half_of_a_transaction(trial: &Trial<'_>) -> anyhow::Result<Outcome> {
    let writer = trial.cluster.session(1)?;
    writer.run("BEGIN")?;
    let writer = Transaction(writer);
    writer.write(trial.x, 1)?;
    writer.write(trial.y, 1)?;
    let half_done = HalfDone::commit(trial, writer)?;
    let seen = (|| {
        let reader = trial.begin()?;
        let seen = reader.0.integer(&format!(
            "SELECT count(*) FROM kv WHERE v = 1 AND id IN ({}, {})",
            trial.x, trial.y
        ))?;
        reader.commit()?;
        anyhow::Ok(seen)
    })();
    half_done.finish()?;
    Ok(happened(seen? == 1))
}

struct HalfDone {
    commit: JoinHandle<anyhow::Result<()>>,
    stopped: Vec<PausedProcess>,
}

impl HalfDone {
    fn commit(trial: &Trial<'_>, writer: Transaction) -> anyhow::Result<HalfDone> {
        let participant = trial.cluster.session(2)?;
        let pids = participant.rows(
            "SELECT pid FROM pg_stat_activity
             WHERE usename = 'shardman_node' AND state = 'idle in transaction'",
        )?;
        let pid = pids.into_iter().flatten().flatten().next();
        // At the closed gate the commit stands between PREPARE and the decision.
        let closer = trial.cluster.node_session(1)?;
        closer.run("BEGIN; SET shardman.gate TO 'close 5000 20000'")?;
        let commit = std::thread::spawn(move || writer.commit());
        if pid.is_some() {
            eventually("it is prepared", BOUND, || {
                let prepared = participant.integer("SELECT count(*) FROM shardman.in_doubt")?;
                Ok((prepared == 1).then_some(()))
            })?;
        }
        let mut stopped = Vec::new();
        if let Some(pid) = &pid {
            stopped.push(PausedProcess::stop(pid)?);
            // Who would carry it out in its place.
            for node in 1..=3 {
                let recovery = trial.cluster.session(node)?.value(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'shardman recovery worker'",
                )?;
                stopped.push(PausedProcess::stop(&recovery)?);
            }
        }
        closer.run("ROLLBACK")?;
        let here = Transaction(trial.cluster.session(1)?);
        eventually(
            "it has committed here",
            BOUND,
            || Ok((here.read(trial.x)? == 1).then_some(())),
        )?;
        Ok(HalfDone { commit, stopped })
    }

    fn finish(self) -> anyhow::Result<()> {
        drop(self.stopped);
        self.commit.join().expect("no panic")
    }
}

/// Both add 1 to what they have read of both rows.
fn lost_update(trial: &Trial<'_>) -> anyhow::Result<Outcome> {
    let (one, other) = (trial.begin()?, trial.begin()?);
    let (first, second) = (one.read(trial.x)?, other.read(trial.x)?);
    one.read(trial.y)?;
    other.read(trial.y)?;
    one.write(trial.x, first + 1)?;
    one.commit()?;
    other.write(trial.x, second + 1)?;
    other.commit()?;
    Ok(happened(trial.now()?.0 == 1))
}

fn read_skew(trial: &Trial<'_>) -> anyhow::Result<Outcome> {
    let reader = trial.begin()?;
    let x = reader.read(trial.x)?;
    let writer = trial.cluster.session(2)?;
    writer.run(&format!("UPDATE kv SET v = 1 WHERE id IN ({}, {})", trial.x, trial.y))?;
    let y = reader.read(trial.y)?;
    reader.commit()?;
    Ok(happened(x != y))
}

/// One reader sees the change of x and not that of y, the other the reverse.
fn long_fork(trial: &Trial<'_>) -> anyhow::Result<Outcome> {
    let (one, other) = (trial.begin()?, trial.begin()?);
    let y_before = one.read(trial.y)?;
    let x_before = other.read(trial.x)?;
    trial.set(trial.x, 1)?;
    trial.set(trial.y, 1)?;
    let x_after = one.read(trial.x)?;
    let y_after = other.read(trial.y)?;
    one.commit()?;
    other.commit()?;
    Ok(happened((x_after, y_before, x_before, y_after) == (1, 0, 0, 1)))
}

/// Each sees two zeros and sets another one to 1.
fn write_skew(trial: &Trial<'_>) -> anyhow::Result<Outcome> {
    let (one, other) = (trial.begin()?, trial.begin()?);
    for transaction in [&one, &other] {
        transaction.read(trial.x)?;
        transaction.read(trial.y)?;
    }
    one.write(trial.x, 1)?;
    other.write(trial.y, 1)?;
    one.commit()?;
    other.commit()?;
    Ok(happened(trial.now()? == (1, 1)))
}
