#!/bin/bash
# Runs the suites of this folder against three running servers.
#   N1PORT=.. N2PORT=.. N3PORT=.. PSQL='psql -h 127.0.0.1 -U postgres' ./run.sh [--accept] [suite …]
# Each suite's output is compared with expected/<suite>.out; --accept writes it.
cd "$(dirname "$0")" || exit 1
: "${N1PORT:=7501}" "${N2PORT:=7502}" "${N3PORT:=7503}" "${PSQL:=psql -h 127.0.0.1 -U postgres}"
export N1PORT N2PORT N3PORT PSQL
accept=; [ "$1" = --accept ] && { accept=1; shift; }
suites=("$@"); [ $# = 0 ] && mapfile -t suites < <(grep -v '^#' schedule)
out=$(mktemp -d); failed=0
run() { # file
  $PSQL -X -q -p "$N1PORT" -d postgres -v n1port="$N1PORT" -v n2port="$N2PORT" -v n3port="$N3PORT" -a -f "$1" 2>&1 |
    sed -E "s/^psql:[^:]*:[0-9]+: //; s/port \"[0-9]+\"/port \"PORT\"/g; s/sc_([0-9]+)_[0-9]+_/sc_\1_XID_/g; /^You are now connected/d"
}
fresh() {
  for p in $N2PORT $N3PORT $N1PORT; do
    $PSQL -X -q -p "$p" -d postgres <<'S' >/dev/null 2>&1
SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts \gexec
DROP EXTENSION IF EXISTS shardman CASCADE;
DROP SCHEMA IF EXISTS shardman_data, shardman_remote CASCADE;
DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS remote CASCADE;
S
  done
  run sql/setup.sql > "$out/setup.out"
  if grep -q ERROR "$out/setup.out"; then cat "$out/setup.out"; exit 2; fi
}
for s in "${suites[@]}"; do
  fresh
  start=$(date +%s%N)
  run "sql/$s.sql" > "$out/$s.out"
  ms=$(( ($(date +%s%N) - start) / 1000000 ))
  if [ -n "$accept" ]; then cp "$out/$s.out" "expected/$s.out"; echo "accepted $s ($ms ms)"; continue; fi
  if diff -u "expected/$s.out" "$out/$s.out" > "$out/$s.diff"; then echo "ok      $s ($ms ms)"
  else echo "FAILED  $s ($ms ms)"; cat "$out/$s.diff"; failed=1; fi
done
exit $failed
