//! MERGE into a sharded table: rows, counts and errors are those of a plain table,
//! through every node, whatever the source is.

use anyhow::ensure;
use regress::{Answer, Session, TestCluster, db_error};

/// `{t}` is the target, `{s}` a colocated source and `{r}` a replicated one; rows stay
/// from one statement to the next.
const STATEMENTS: &[&str] = &[
    // One value of the distribution column.
    "MERGE INTO {t} AS t USING (VALUES (1, 10)) AS v (id, v) ON t.id = v.id
         WHEN MATCHED THEN UPDATE SET v = t.v + v.v WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.v)",
    "MERGE INTO {t} AS t USING (SELECT 51 AS id, 'new' AS s) AS v ON t.id = v.id
         WHEN MATCHED THEN UPDATE SET s = v.s WHEN NOT MATCHED THEN INSERT (id, s) VALUES (v.id, v.s)",
    "MERGE INTO {t} AS t USING (SELECT 51 AS id, 'old' AS s) AS v ON t.id = v.id
         WHEN MATCHED AND t.s = 'new' THEN UPDATE SET s = v.s, m = 'ok' WHEN MATCHED THEN DELETE",
    "PREPARE m (int, text) AS MERGE INTO {t} AS t USING (SELECT $1 AS id) AS v ON t.id = v.id
         WHEN MATCHED THEN UPDATE SET s = $2 WHEN NOT MATCHED THEN INSERT (id, s, m) VALUES (v.id, $2, 'ok');
     EXECUTE m (2, 'a'); EXECUTE m (52, 'b'); EXECUTE m (53, 'c'); EXECUTE m (2, 'd'); EXECUTE m (3, 'e');
     EXECUTE m (4, 'f'); EXECUTE m (54, 'g'); DEALLOCATE m",
    "MERGE INTO {t} AS t USING {s} AS s ON t.id = s.id AND t.id = 5 WHEN MATCHED THEN DELETE",
    "MERGE INTO {t} AS t USING (SELECT * FROM {s} WHERE id = 6) AS s ON t.id = s.id
         WHEN MATCHED THEN UPDATE SET v = s.n WHEN NOT MATCHED THEN INSERT VALUES (s.id)",
    // Every partition: a colocated source.
    "MERGE INTO {t} USING {s} ON {t}.id = {s}.id
         WHEN MATCHED AND n % 3 = 0 THEN DELETE
         WHEN MATCHED AND n % 3 = 1 THEN UPDATE SET v = n, s = DEFAULT
         WHEN MATCHED THEN DO NOTHING
         WHEN NOT MATCHED AND n < 120 THEN INSERT (id, v, m) VALUES ({s}.id, n, 'ok')
         WHEN NOT MATCHED THEN INSERT VALUES ({s}.id)",
    "MERGE INTO {t} AS t USING (SELECT id, count(*) AS c, min(n) AS low FROM {s} GROUP BY id) AS s ON s.id = t.id
         WHEN MATCHED AND s.c > 0 THEN UPDATE SET (v, s) = ROW (s.low, 'grouped')
         WHEN NOT MATCHED THEN DO NOTHING",
    "WITH some AS (SELECT id, n FROM {s} WHERE n > 50) MERGE INTO {t} AS t USING some ON t.id = some.id AND some.n > 60
         WHEN NOT MATCHED AND some.id % 2 = 0 THEN INSERT (id, v) VALUES (some.id + 0, some.n)
         WHEN MATCHED THEN UPDATE SET v = some.n",
    "WITH some AS (SELECT id, n FROM {s} WHERE n > 50) MERGE INTO {t} AS t USING some ON t.id = some.id AND some.n > 60
         WHEN NOT MATCHED AND some.id % 2 = 0 THEN DO NOTHING
         WHEN MATCHED THEN UPDATE SET v = some.n",
    "MERGE INTO {t} AS t USING (SELECT s.id, r.v FROM {s} AS s JOIN {r} AS r ON r.id = s.id) AS j ON t.id = j.id
         WHEN MATCHED THEN UPDATE SET v = j.v WHEN NOT MATCHED THEN INSERT (id, v) VALUES (j.id, j.v)",
    // Every partition: rows that are the same on all nodes.
    "MERGE INTO {t} AS t USING {r} ON t.id = {r}.id
         WHEN MATCHED AND {r}.v > 10 THEN DELETE WHEN MATCHED THEN UPDATE SET v = {r}.v
         WHEN NOT MATCHED THEN INSERT (id, v, m) VALUES ({r}.id, {r}.v, 'ok')",
    "MERGE INTO {t} AS t USING (VALUES (1, 'one', 1), (2, 'two', 2), (70, 'seventy', NULL), (71, NULL, 3)) AS v (id, s, n) ON t.id = v.id
         WHEN MATCHED THEN UPDATE SET s = v.s, m = 'ok' WHEN NOT MATCHED THEN INSERT (id, s, m, v) VALUES (v.id, v.s, 'ok', v.n)",
    "MERGE INTO {t} AS t USING generate_series(60, 90) AS i ON t.id = i
         WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, s) VALUES (i, repeat('s', i % 5))",
    "PREPARE m (int[], text[]) AS MERGE INTO {t} AS t USING unnest($1, $2) AS u (id, s) ON t.id = u.id
         WHEN MATCHED THEN UPDATE SET s = u.s WHEN NOT MATCHED THEN INSERT (id, s, v) VALUES (u.id, u.s, length(u.s));
     EXECUTE m ('{1,2,3,91,92}', '{a,b,c,d,e}'); EXECUTE m ('{1,2,93}', '{f,g,h}'); EXECUTE m ('{}', '{}'); DEALLOCATE m",
    "BEGIN; SAVEPOINT a; MERGE INTO {t} AS t USING generate_series(1, 99) AS i ON t.id = i WHEN MATCHED THEN DELETE;
     ROLLBACK TO a; MERGE INTO {t} AS t USING generate_series(1, 9) AS i ON t.id = i WHEN MATCHED THEN UPDATE SET v = -1; COMMIT",
    // Errors.
    "MERGE INTO {t} AS t USING (VALUES (1, 1), (1, 2)) AS v (id, v) ON t.id = v.id WHEN MATCHED THEN UPDATE SET v = v.v",
    "MERGE INTO {t} AS t USING (VALUES (NULL::int, 1), (1, 2)) AS v (id, v) ON t.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.v)",
    "MERGE INTO {t} AS t USING generate_series(1, 99) AS i ON t.id = i WHEN MATCHED THEN UPDATE SET v = -1000",
    "MERGE INTO {t} AS t USING generate_series(1, 99) AS i ON t.id = i AND t.v = 12345 WHEN NOT MATCHED THEN INSERT (id) VALUES (i)",
    // Columns that stand elsewhere in a leaf than in its parent.
    "ALTER TABLE {t} DROP COLUMN s; ALTER TABLE {t} ADD COLUMN s2 text DEFAULT 'q', ADD COLUMN twice int GENERATED ALWAYS AS (v * 2) STORED",
    "MERGE INTO {t} AS t USING {s} AS s ON t.id = s.id
         WHEN MATCHED AND t.twice > 10 THEN UPDATE SET s2 = 'p', v = s.n WHEN MATCHED THEN DELETE
         WHEN NOT MATCHED THEN INSERT (s2, id, v) VALUES ('n', s.id, s.n)",
];

/// What is refused, with a part of the reason.
const REFUSED: &[(&str, &str)] = &[
    ("MERGE INTO s0 AS t USING c0 AS s ON t.v = s.n WHEN MATCHED THEN DELETE", "does not equate"),
    (
        "MERGE INTO s0 AS t USING c0 AS s ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.n)",
        "another value of a distribution column",
    ),
    (
        "MERGE INTO s0 AS t USING c0 AS s ON t.id = s.n WHEN MATCHED THEN DELETE",
        "does not compare the distribution columns",
    ),
    (
        "MERGE INTO s0 AS t USING (SELECT * FROM c0 LIMIT 3) AS s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "does not compare the distribution columns",
    ),
    (
        "MERGE INTO s0 AS t USING c0 AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET id = 1",
        "assigns",
    ),
    (
        "MERGE INTO s0 AS t USING p0 AS s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "sharded and replicated",
    ),
    (
        "MERGE INTO s0 AS t USING (VALUES (1, 'sad'::mood), (2, 'ok')) AS v (id, m) ON t.id = v.id WHEN MATCHED THEN UPDATE SET m = v.m",
        "not built in",
    ),
    (
        "MERGE INTO s0 AS t USING generate_series(1, 9) AS i ON t.id = i WHEN MATCHED THEN UPDATE SET v = random()",
        "not immutable",
    ),
];

#[derive(Debug, PartialEq)]
enum Outcome {
    Done(Answer),
    Error(String),
}

fn outcome(session: &Session, sql: &str) -> anyhow::Result<Outcome> {
    match session.answer(sql) {
        Ok(mut answer) => {
            answer.rows.sort();
            Ok(Outcome::Done(answer))
        }
        Err(error) => match db_error(&error) {
            Some(db) => Ok(Outcome::Error(db.code().code().to_owned())),
            None => Err(error),
        },
    }
}

#[test]
fn merge_means_the_same_as_on_a_plain_table() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
    nodes[0].run(
        "SET shardman.broadcast_ddl = on; CREATE TYPE mood AS ENUM ('sad', 'ok'); RESET shardman.broadcast_ddl;
         CREATE TABLE r (id int PRIMARY KEY, v int) WITH (replicated);
         INSERT INTO r SELECT i, i % 20 FROM generate_series(5, 60, 3) AS i",
    )?;
    for (at, node) in nodes.iter().enumerate() {
        let names = [
            [format!("s{at}"), format!("c{at}"), "r".into()],
            [format!("p{at}"), format!("q{at}"), format!("o{at}")],
        ];
        let options = [
            [
                " WITH (distributed_by = 'id', num_parts = 5)".to_owned(),
                format!(" WITH (distributed_by = 'id', colocate_with = 's{at}')"),
            ],
            Default::default(),
        ];
        for ([target, source, _], [first, second]) in names.iter().zip(&options) {
            node.run(&format!(
                "CREATE TABLE {target} (gone int, id int PRIMARY KEY, v int CHECK (v > -500), s text DEFAULT 'd', m mood DEFAULT 'sad'){first};
                 ALTER TABLE {target} DROP COLUMN gone;
                 CREATE TABLE {source} (id int PRIMARY KEY, n int){second};
                 INSERT INTO {target} SELECT i, i, 's' FROM generate_series(1, 40) AS i;
                 INSERT INTO {source} SELECT i, i * 3 + 1 + i % 3 FROM generate_series(2, 50, 2) AS i"
            ))?;
        }
        node.run(&format!("CREATE TABLE o{at} AS SELECT * FROM r"))?;
        for template in STATEMENTS {
            let [got, wanted] = [&names[0], &names[1]].map(|[t, s, r]| -> anyhow::Result<_> {
                let sql = template.replace("{t}", t).replace("{s}", s).replace("{r}", r);
                let done = outcome(node, &sql)?;
                node.run("ROLLBACK; DEALLOCATE ALL")?;
                let reader = &nodes[(at + usize::from(t.starts_with('s'))) % nodes.len()];
                let reader = if t.starts_with('s') { reader } else { node };
                Ok((done, outcome(reader, &format!("SELECT * FROM {t}"))?))
            });
            let (got, wanted) = (got?, wanted?);
            ensure!(
                got == wanted,
                "node {}: {template}\ncluster: {got:?}\nplain: {wanted:?}",
                at + 1
            );
        }
    }
    for (sql, reason) in REFUSED {
        let error = nodes[0].failure(sql)?;
        let told = error.detail().unwrap_or_default();
        ensure!(error.code().code() == "0A000" && told.contains(reason), "{sql}: {error:?}");
    }
    // Triggers fire once for a row, where it is, and a partition that moves is followed.
    nodes[1].run(
        "SET shardman.broadcast_ddl = on;
         CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v + 1; RETURN NEW; END';
         CREATE TRIGGER mark BEFORE INSERT OR UPDATE ON s1 FOR EACH ROW EXECUTE FUNCTION mark();
         TRUNCATE s1; PREPARE m AS MERGE INTO s1 AS t USING generate_series(1, 20) AS i ON t.id = i
             WHEN MATCHED THEN UPDATE SET v = t.v + 10 WHEN NOT MATCHED THEN INSERT (id, v) VALUES (i, 0);
         EXECUTE m; EXECUTE m",
    )?;
    ensure!(nodes[2].rows("SELECT DISTINCT v FROM s1")? == [[Some("12".to_owned())]]);
    let move_one = "SELECT shardman.move_part(part_name, 1 + node_id % 3) FROM shardman.parts
                    WHERE rel = 's1'::regclass ORDER BY pnum LIMIT 1";
    let job = nodes[1].value(move_one)?;
    ensure!(nodes[1].value(&format!("SELECT shardman.wait_cmd({job})"))? == "success");
    nodes[1].run("EXECUTE m")?;
    ensure!(nodes[2].rows("SELECT DISTINCT v FROM s1")? == [[Some("23".to_owned())]]);
    Ok(())
}
