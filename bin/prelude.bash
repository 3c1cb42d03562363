# What bin/setup, bin/demo and bin/test share; sourced, never run.
# shellcheck shell=bash

readonly PG_MAJOR=15
readonly RUST_MINIMUM=1.95

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
# cargo pgrx and plain cargo pass different flags: in one target directory
# each would rebuild what the other built.
readonly PLAIN_TARGET="$ROOT/target/plain"
export -n CARGO_TARGET_DIR
unset CARGO_TARGET_DIR

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

# die WHAT_IS_MISSING HOW_TO_GET_IT...
die() {
    say "cannot go on: $1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

# Prints the leading comment of the script that runs.
print_usage() { sed -n '2,/^$/{s/^# \{0,1\}//p}' "$0"; }

# Runs a command as root; says so if that is not possible.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*" \
            "run bin/setup once as root, or install sudo"
    fi
}

# Puts cargo on PATH, or ends with a message.
need_cargo() {
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    command -v cargo >/dev/null || die "there is no cargo" \
        "install Rust $RUST_MINIMUM or later with rustup: https://rustup.rs" \
        "then open a new shell, or add ~/.cargo/bin to PATH"
    local version
    version=$(rustc --version | awk '{print $2}')
    if [[ $(printf '%s\n' "$RUST_MINIMUM" "$version" | sort -V | head -n 1) != "$RUST_MINIMUM" ]]; then
        die "rustc is $version, shardman needs $RUST_MINIMUM or later" "run: rustup update stable"
    fi
}

# Sets PG_CONFIG and PG_BINDIR, or ends with a message.
need_postgres() {
    PG_CONFIG=${SHARDMAN_PG_CONFIG:-}
    [[ -z $PG_CONFIG || -x $PG_CONFIG ]] ||
        die "SHARDMAN_PG_CONFIG names $PG_CONFIG, which is no program" "correct or unset it"
    if [[ -z $PG_CONFIG ]]; then
        PG_CONFIG=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config
        [[ -x $PG_CONFIG ]] || PG_CONFIG=$(command -v pg_config || true)
    fi
    [[ -n $PG_CONFIG && -x $PG_CONFIG ]] || die "there is no pg_config of PostgreSQL $PG_MAJOR" \
        "on Debian 12: apt-get install postgresql-$PG_MAJOR postgresql-server-dev-$PG_MAJOR" \
        "elsewhere: install it and name its pg_config in SHARDMAN_PG_CONFIG"
    local version
    version=$("$PG_CONFIG" --version)
    [[ $version == "PostgreSQL $PG_MAJOR"[.\ a-z]* ]] || die \
        "$PG_CONFIG is of $version; shardman needs PostgreSQL $PG_MAJOR" \
        "name another one in SHARDMAN_PG_CONFIG"
    PG_BINDIR=$("$PG_CONFIG" --bindir)
    export SHARDMAN_PG_CONFIG=$PG_CONFIG SHARDMAN_PG_BINDIR=$PG_BINDIR
}
