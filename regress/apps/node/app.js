// An application on the Node.js driver `pg`: accounts and what is booked on them.
"use strict";

const assert = require("node:assert/strict");
const { Client, Pool, types } = require("pg");
const Cursor = require("pg-cursor");

const ACCOUNTS = 40;
const EACH = 25;
// No statement of this application waits for long. PGHOST and PGPORT say where.
const options = { statement_timeout: 30000, connectionTimeoutMillis: 10000 };
// bigint as a number: they are small here.
types.setTypeParser(types.builtins.INT8, Number);

async function inTransaction(pool, work) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

async function makeTables(pool) {
  const there = await pool.query("SELECT to_regnamespace('shardman') IS NOT NULL AS it");
  const sharded = (clause) => (there.rows[0].it ? `WITH (${clause})` : "");
  await inTransaction(pool, async (client) => {
    await client.query(`CREATE TABLE accounts (
        id bigserial PRIMARY KEY, owner text NOT NULL, balance numeric(12, 2) NOT NULL DEFAULT 0 CHECK (balance >= 0),
        limits jsonb, labels text[], opened timestamptz NOT NULL DEFAULT now())
      ${sharded("distributed_by = 'id', num_parts = 6")}`);
    await client.query(`CREATE TABLE entries (
        account bigint REFERENCES accounts, number int, key uuid NOT NULL, amount numeric(12, 2) NOT NULL,
        PRIMARY KEY (account, number), UNIQUE (account, key))
      ${sharded("distributed_by = 'account', colocate_with = 'accounts'")}`);
  });
}

async function values(pool) {
  const opened = new Date("2024-02-29T12:30:15.123Z");
  const text = "INSERT INTO accounts (owner, limits, labels, opened, balance) VALUES ($1, $2, $3, $4, $5) RETURNING *";
  const ids = [];
  for (let i = 0; i < ACCOUNTS; i++) {
    const limits = { day: i, "π": [null, true, "a'b"] };
    const labels = [`l${i}`, 'quo"te', "com,ma", null];
    // Named: prepared once a connection.
    const { rows } = await pool.query({ name: "open", text, values: [`owner ${i}`, limits, labels, opened, "100.50"] });
    assert.deepEqual(rows[0].limits, limits);
    assert.deepEqual(rows[0].labels, labels);
    assert.equal(rows[0].opened.getTime(), opened.getTime());
    assert.equal(rows[0].balance, "100.50");
    ids.push(rows[0].id);
  }
  assert.equal(new Set(ids).size, ACCOUNTS);
  const { rows } = await pool.query("SELECT owner FROM accounts WHERE id = ANY ($1) AND limits->>'day' = $2", [ids, "7"]);
  assert.deepEqual(rows, [{ owner: "owner 7" }]);
  return ids;
}

const uuid = (account, number) => `00000000-0000-4000-8000-${String(account * 1000 + number).padStart(12, "0").slice(-12)}`;

async function upserts(pool, ids) {
  const rows = ids.flatMap((id) => Array.from({ length: EACH }, (_, n) => [id, n, uuid(id, n), n]));
  const columns = [0, 1, 2, 3].map((c) => rows.map((row) => row[c]));
  const all = "SELECT * FROM unnest($1::bigint[], $2::int[], $3::uuid[], $4::numeric[])";
  const insert = `INSERT INTO entries AS e (account, number, key, amount) ${all} ON CONFLICT `;
  const first = await pool.query(insert + "DO NOTHING", columns);
  assert.equal(first.rowCount, rows.length);
  const again = await pool.query(insert + "(account, key) DO UPDATE SET amount = e.amount + EXCLUDED.amount WHERE e.number > 0", columns);
  assert.equal(again.rowCount, ACCOUNTS * (EACH - 1));
  const one = "INSERT INTO entries VALUES ($1, $2, $3, $4) ON CONFLICT (account, number) DO UPDATE SET amount = $4 RETURNING amount, (xmax = 0) AS fresh";
  const { rows: changed, command, rowCount } = await pool.query(one, [ids[0], 1, uuid(ids[0], 1), "7.25"]);
  assert.deepEqual([changed[0].amount, command, rowCount], ["7.25", "INSERT", 1]);
  const sums = await pool.query("SELECT count(*), sum(amount), max(number) FROM entries WHERE account <> $1", [ids[0]]);
  const sum = EACH * (EACH - 1) * (ACCOUNTS - 1);
  assert.deepEqual(sums.rows[0], { count: EACH * (ACCOUNTS - 1), sum: sum.toFixed(2), max: EACH - 1 });
}

async function transfers(pool, ids) {
  const move = (from, to, amount) =>
    inTransaction(pool, async (client) => {
      // In one order, so that no two wait for each other.
      await client.query("SELECT id FROM accounts WHERE id = ANY ($1) ORDER BY id FOR UPDATE", [[from, to]]);
      await client.query("UPDATE accounts SET balance = balance - $2 WHERE id = $1", [from, amount]);
      await client.query("UPDATE accounts SET balance = balance + $2 WHERE id = $1", [to, amount]);
    });
  const moves = ids.slice(0, 10).map((from, i) => move(from, ids[(i + 3) % 10], 10 + i));
  await Promise.all(moves);
  await assert.rejects(move(ids[0], ids[1], 1000), { code: "23514", table: /accounts/, constraint: "accounts_balance_check" });
  await assert.rejects(pool.query("INSERT INTO entries VALUES (-1, 1, $1, 1)", [uuid(0, 1)]), { code: "23503" });
  await assert.rejects(pool.query("SELECT nothing FROM accounts"), { code: "42703" });
  const total = await pool.query("SELECT sum(balance) FROM accounts");
  assert.equal(total.rows[0].sum, (ACCOUNTS * 100.5).toFixed(2));
  await inTransaction(pool, async (client) => {
    await client.query("UPDATE accounts SET owner = 'kept' WHERE id = $1", [ids[0]]);
    await client.query("SAVEPOINT s");
    await assert.rejects(client.query("INSERT INTO accounts (id, owner) VALUES ($1, 'again')", [ids[1]]), { code: "23505" });
    await client.query("ROLLBACK TO SAVEPOINT s");
    await client.query("UPDATE accounts SET owner = 'kept' WHERE id = $1", [ids[1]]);
  });
  const kept = await pool.query("SELECT count(*) FROM accounts WHERE owner = 'kept'");
  assert.equal(kept.rows[0].count, 2);
}

async function cursors() {
  const client = new Client(options);
  await client.connect();
  await client.query("BEGIN");
  const cursor = client.query(new Cursor("SELECT account, number FROM entries WHERE number >= $1 ORDER BY account, number", [0]));
  let seen = 0;
  for (let rows = await cursor.read(64); rows.length > 0; rows = await cursor.read(64)) {
    seen += rows.length;
  }
  assert.equal(seen, ACCOUNTS * EACH);
  const left = client.query(new Cursor("SELECT * FROM entries"));
  assert.equal((await left.read(3)).length, 3);
  await left.close();
  await client.query("COMMIT");
  const several = await client.query("SELECT count(*) FROM accounts; UPDATE accounts SET owner = 'all'; SELECT 1 AS one");
  assert.deepEqual(several.map((result) => result.rowCount), [1, ACCOUNTS, 1]);
  await client.end();
}

async function main() {
  const pool = new Pool({ ...options, max: 6 });
  await makeTables(pool);
  const ids = await values(pool);
  await upserts(pool, ids);
  await transfers(pool, ids);
  await cursors();
  const fields = (await pool.query("SELECT * FROM entries LIMIT 0")).fields;
  assert.deepEqual(fields.map((field) => field.name), ["account", "number", "key", "amount"]);
  await pool.query("DROP TABLE entries, accounts");
  await pool.end();
  console.log("node: all done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
