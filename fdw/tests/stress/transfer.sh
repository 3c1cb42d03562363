#!/bin/bash
# Money moves between three servers under load while remote sessions are
# killed; afterwards the sum is what it was and nothing is left prepared.
#   N1PORT=.. N2PORT=.. N3PORT=.. PSQL=.. PGBENCH=.. ./transfer.sh [seconds] [kill]
# Run after `run.sh transactions`, which leaves the extension and servers behind.
: "${N1PORT:=7501}" "${N2PORT:=7502}" "${N3PORT:=7503}" "${PSQL:=psql -h 127.0.0.1 -U postgres}" "${PGBENCH:=pgbench -h 127.0.0.1 -U postgres}"
seconds=${1:-5}; kill=$2
q() { $PSQL -X -q -At -d postgres -p "$@"; }
for p in $N2PORT $N3PORT; do q "$p" -c "DROP TABLE IF EXISTS acct_$p; CREATE TABLE acct_$p (id int PRIMARY KEY, bal bigint); INSERT INTO acct_$p SELECT i, 1000 FROM generate_series(1, 100) i"; done
q "$N1PORT" -c "DROP FOREIGN TABLE IF EXISTS a2, a3; DROP TABLE IF EXISTS a1; CREATE TABLE a1 AS SELECT i AS id, 1000::bigint AS bal FROM generate_series(1, 100) i; ALTER TABLE a1 ADD PRIMARY KEY (id);
CREATE FOREIGN TABLE a2 (id int, bal bigint) SERVER s2 OPTIONS (table_name 'acct_$N2PORT'); CREATE FOREIGN TABLE a3 (id int, bal bigint) SERVER s3 OPTIONS (table_name 'acct_$N3PORT');"
f=$(mktemp)
cat > "$f" <<'S'
\set x random(1, 100)
\set y random(1, 100)
\set m random(1, 10)
\set k random(1, 4)
BEGIN;
\if :k = 1
UPDATE a2 SET bal = bal - :m WHERE id = :x;
UPDATE a3 SET bal = bal + :m WHERE id = :y;
\elif :k = 2
UPDATE a1 SET bal = bal - :m WHERE id = :x;
UPDATE a2 SET bal = bal + :m WHERE id = :y;
\elif :k = 3
SAVEPOINT s;
UPDATE a2 SET bal = bal - 100000 WHERE id = :x;
ROLLBACK TO s;
UPDATE a2 SET bal = bal - :m WHERE id = :x;
UPDATE a2 SET bal = bal + :m WHERE id = :x;
\else
SELECT sum(bal) FROM a2;
UPDATE a3 SET bal = bal - :m WHERE id = :x;
UPDATE a1 SET bal = bal + :m WHERE id = :y;
\endif
COMMIT;
S
# Waits between nodes are seen by nobody yet: let a timeout break deadlocks.
for p in $N2PORT $N3PORT; do q "$p" -c "ALTER ROLE postgres SET lock_timeout = '500ms'"; done
if [ -n "$kill" ]; then
  ( end=$((SECONDS + seconds)); while [ $SECONDS -lt $end ]; do sleep 0.3
    q "$N2PORT" -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardman' ORDER BY random() LIMIT 1" >/dev/null; done ) &
fi
run() { $PGBENCH -n -p "$N1PORT" -c 6 -j 2 -T "$1" -f "$f" postgres 2>&1 | grep -E "tps|aborted|WARNING" | sed -E 's/^.*(ERROR|WARNING)/\1/' | sort | uniq -c | sort -rn | head -12; }
if [ -z "$kill" ]; then run "$seconds"; else
  # A client stops at its first lost connection: start anew until the time is over.
  stop=$((SECONDS + seconds)); while [ $SECONDS -lt $stop ]; do run 1; done | sed 's/^ *[0-9]* //' | sed -E 's/= .*//; s/"sc_[0-9_]*"/GID/' | sort | uniq -c
fi
wait
for p in $N2PORT $N3PORT; do q "$p" -c "ALTER ROLE postgres RESET lock_timeout"; done
# What recovery will do: the coordinator's own commit decides.
for p in $N2PORT $N3PORT; do for gid in $(q "$p" -c "SELECT gid FROM pg_prepared_xacts"); do
  xid=$(echo "$gid" | cut -d_ -f3); what=ROLLBACK
  [ "$(q "$N1PORT" -c "SELECT pg_xact_status('$xid')")" = committed ] && what=COMMIT
  echo "$what PREPARED $gid on $p"; q "$p" -c "$what PREPARED '$gid'"
done; done
echo "sum $(q "$N1PORT" -c "SELECT (SELECT sum(bal) FROM a1) + (SELECT sum(bal) FROM a2) + (SELECT sum(bal) FROM a3)") of 300000"
for p in $N2PORT $N3PORT; do echo "prepared on $p: $(q "$p" -c "SELECT count(*) FROM pg_prepared_xacts")"; done
rm -f "$f"
