//! The copy: the source's COPY TO STDOUT is the input of a COPY FROM here, piece by
//! piece, slowed down if asked to.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CString, c_int, c_void};
use std::time::{Duration, Instant};

use cluster::rebalance::{CopiedSnapshot, Relocation};
use cluster::sharding::{LEAF_SCHEMA, MOVING_SCHEMA, quote_identifier};
use fdw::session::{CopyOut, Remote};
use pgrx::prelude::*;

use super::catch_up;
use super::destination::{IS_IT, evict_others, key};
use super::leaves::{Leaf, find, leaves, owner_of};
use super::source::sleep;
use crate::catalog::ActingAs;
use crate::report::{OrRaise, Report};
use crate::settings;

/// One sleep at most, in milliseconds: a cancel need not wait longer.
const LONGEST_SLEEP: u64 = 1000;
/// A slow copy takes as many bytes at once as it may in a second, divided by this.
const PIECES_A_SECOND: u64 = 10;

/// How fast a copy may be.
#[derive(Clone, Copy)]
struct Pace {
    /// Bytes a second; 0 for any number.
    rate: u64,
    began: Instant,
    bytes: u64,
}

/// What COPY FROM reads.
struct Input {
    from: CopyOut,
    /// What has come, taken up to `taken`.
    data: Vec<u8>,
    taken: usize,
    pace: Pace,
}

thread_local! {
    /// While COPY FROM runs: PostgreSQL passes nothing to its source of data.
    static INPUT: RefCell<Option<Input>> = const { RefCell::new(None) };
}

/// Copies all rows within the running transaction, which is REPEATABLE READ, and
/// notes the snapshot they were read with.
pub fn copy(relocation: &Relocation) -> Result<(), Report> {
    let leaves = leaves(relocation)?;
    let mut tables = Vec::new();
    {
        let _acting = ActingAs::owner_of_the_catalogs();
        for leaf in &leaves {
            let table = find(MOVING_SCHEMA, &leaf.name).ok_or_else(|| gone(leaf))?;
            evict_others(table)?;
            Spi::run(&format!(
                "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
                leaf.within(MOVING_SCHEMA)
            ))?;
            tables.push(table);
        }
    }
    let source = fdw::session::for_node(relocation.source)?;
    let snapshot = source.query("SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text", &[])?;
    let snapshot = snapshot.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    let snapshot = snapshot.unwrap_or_default();
    CopiedSnapshot::parse(&snapshot).map_err(|error| {
        Report::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            "could not read the source's snapshot",
        )
        .detail(error.to_string())
    })?;
    catch_up::set_up(&leaves)?;
    let mut pace = Pace { rate: settings::move_rate(), began: Instant::now(), bytes: 0 };
    let mut rows = 0;
    for (leaf, table) in leaves.iter().zip(tables) {
        rows += copy_leaf(leaf, table, &source, &mut pace)?;
    }
    let _acting = ActingAs::owner_of_the_catalogs();
    let [group, partition] = key(relocation);
    Ok(Spi::run_with_args(
        &format!("UPDATE shardman.move SET snapshot = $3, rows_copied = $4 WHERE {IS_IT}"),
        &[group, partition, snapshot.into(), (rows as i64).into()],
    )?)
}

/// Returns the number of rows.
fn copy_leaf(
    leaf: &Leaf,
    table: pg_sys::Oid,
    source: &Remote,
    pace: &mut Pace,
) -> Result<u64, Report> {
    let (columns, from) = {
        let _acting = ActingAs::owner_of_the_catalogs();
        let columns = Spi::get_one_with_args::<Vec<String>>(
            "SELECT pg_catalog.array_agg(attname::pg_catalog.text ORDER BY attnum)
             FROM pg_catalog.pg_attribute
             WHERE attrelid OPERATOR(pg_catalog.=) $1 AND attnum OPERATOR(pg_catalog.>) 0
               AND NOT attisdropped AND attgenerated OPERATOR(pg_catalog.=) ''",
            &[table.into()],
        )?
        .unwrap_or_default();
        let list: Vec<_> = columns.iter().map(|column| quote_identifier(column)).collect();
        let name = leaf.within(LEAF_SCHEMA);
        (columns, source.copy_out(&format!("COPY {name} ({}) TO STDOUT", list.join(", ")))?)
    };
    // Checks and generated columns are the owner's code.
    let _acting = ActingAs::user(owner_of(leaf.parent)?);
    INPUT.set(Some(Input { from, data: Vec::new(), taken: 0, pace: *pace }));
    let leftover = Leftover;
    let rows = copy_from(table, &columns);
    if let Some(input) = INPUT.with_borrow(|input| input.as_ref().map(|input| input.pace)) {
        *pace = input;
    }
    drop(leftover);
    Ok(rows)
}

/// Forgets the input, also after an error.
struct Leftover;

impl Drop for Leftover {
    fn drop(&mut self) {
        drop(INPUT.take());
    }
}

/// COPY FROM, without PostgreSQL's check of rights on leaves, which nobody has.
fn copy_from(table: pg_sys::Oid, columns: &[String]) -> u64 {
    const LOCK: c_int = pg_sys::RowExclusiveLock as c_int;
    // SAFETY: guarded calls, in the order in which PostgreSQL's COPY makes them; the
    // list holds String nodes of palloc'd names.
    unsafe {
        let state = pg_sys::make_parsestate(std::ptr::null_mut());
        let relation = pg_sys::table_open(table, LOCK);
        pg_sys::addRangeTableEntryForRelation(
            state,
            relation,
            LOCK,
            std::ptr::null_mut(),
            false,
            false,
        );
        let mut names = std::ptr::null_mut();
        for column in columns {
            let name = CString::new(column.as_str()).unwrap_or_default();
            let name = pg_sys::makeString(pg_sys::pstrdup(name.as_ptr()));
            names = pg_sys::lappend(names, name.cast());
        }
        let copy = pg_sys::BeginCopyFrom(
            state,
            relation,
            std::ptr::null_mut(),
            std::ptr::null(),
            false,
            Some(next_bytes),
            names,
            std::ptr::null_mut(),
        );
        let rows = pg_sys::CopyFrom(copy);
        pg_sys::EndCopyFrom(copy);
        pg_sys::table_close(relation, pg_sys::NoLock as c_int);
        pg_sys::free_parsestate(state);
        rows
    }
}

/// PostgreSQL's COPY asks for at least `least` bytes, and for no more than `most`; fewer
/// mean the end.
#[pg_guard]
unsafe extern "C-unwind" fn next_bytes(into: *mut c_void, least: c_int, most: c_int) -> c_int {
    // Taken out meanwhile: what waits below may raise.
    let Some(mut input) = INPUT.take() else { return 0 };
    // SAFETY: PostgreSQL's buffer has room for `most` bytes.
    let into = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), most.max(0) as usize) };
    let filled = input.fill(into, least.max(0) as usize).or_raise();
    INPUT.set(Some(input));
    filled as c_int
}

impl Input {
    /// Returns how many bytes were put there.
    fn fill(&mut self, into: &mut [u8], least: usize) -> Result<usize, Report> {
        let most = self.pace.at_once(into.len()).max(least);
        let mut filled = 0;
        while filled < most && (filled < least || self.taken < self.data.len()) {
            if self.taken == self.data.len() {
                self.data.clear();
                self.taken = 0;
                if !self.from.append_to(&mut self.data)? {
                    break;
                }
            }
            let piece = (most - filled).min(self.data.len() - self.taken);
            into[filled..filled + piece]
                .copy_from_slice(&self.data[self.taken..self.taken + piece]);
            filled += piece;
            self.taken += piece;
        }
        self.pace.keep(filled as u64);
        Ok(filled)
    }
}

impl Pace {
    fn at_once(&self, room: usize) -> usize {
        match self.rate {
            0 => room,
            rate => room.min((rate / PIECES_A_SECOND) as usize),
        }
    }

    /// Sleeps until so many more bytes are due.
    fn keep(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.rate == 0 {
            return;
        }
        let due = Duration::from_secs_f64(self.bytes as f64 / self.rate as f64);
        loop {
            let left = due.saturating_sub(self.began.elapsed()).as_millis() as u64;
            if left == 0 {
                return;
            }
            sleep(left.min(LONGEST_SLEEP) as i64);
        }
    }
}

fn gone(leaf: &Leaf) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("the copy of partition {} is gone", leaf.name),
    )
}
