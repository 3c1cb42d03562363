//! The lives of this server: one begins whenever its shared memory is made, at
//! its start and again after a backend crashed. WAL that was not flushed is lost
//! then, and with it transaction ids, which are given again.
//!
//! A life is entered in a file before any transaction can carry its name, so
//! that a data directory knows which lives it has had. A copy of it that is
//! brought back later does not know those that came after it was made.
#![allow(unsafe_code)]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cluster::txn::Life;
use pgrx::prelude::*;

use crate::membership::folder;

const FILE: &str = "lives";

/// Set in the postmaster; backends are forked from it.
static PRESENT: AtomicU64 = AtomicU64::new(0);

/// The hook that was there before us.
static mut PREVIOUS: pg_sys::shmem_startup_hook_type = None;

/// Has a life begin whenever shared memory is made.
pub fn install() {
    // SAFETY: hooks are set while the postmaster loads libraries.
    unsafe {
        PREVIOUS = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(at_shmem_startup);
    }
}

/// The server's present life.
pub fn present_life() -> Life {
    Life(PRESENT.load(Ordering::Relaxed))
}

/// Whether this data directory has had a life.
pub fn is_remembered(life: Life) -> io::Result<bool> {
    Ok(life == present_life() || read()?.contains(&life.0))
}

/// Enters the present life if that failed at the server's start: the metadata
/// log must not know one that this data directory does not.
pub fn ensure_entered() -> io::Result<()> {
    let life = PRESENT.load(Ordering::Relaxed);
    if read()?.contains(&life) { Ok(()) } else { enter(life) }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_shmem_startup() {
    // SAFETY: the hook that was there before; nothing here has a destructor.
    unsafe {
        if let Some(previous) = PREVIOUS {
            previous();
        }
    }
    let _ = fdw::quietly(|| {
        if let Err(error) = begin() {
            // Its transactions will not be rolled back by themselves, no more.
            warning!("shardman: could not enter this start of the server in a file: {error}");
        }
        Ok(())
    });
}

fn begin() -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    let last = read();
    let life = now.max(last.iter().flatten().copied().max().unwrap_or(0).saturating_add(1));
    PRESENT.store(life, Ordering::Relaxed);
    last?;
    enter(life)
}

fn enter(life: u64) -> io::Result<()> {
    let mut file =
        OpenOptions::new().append(true).create(true).mode(0o600).open(folder().join(FILE))?;
    writeln!(file, "{life}")?;
    file.sync_all()?;
    File::open(folder())?.sync_all()
}

/// All lives; lines that a crash left incomplete are skipped.
fn read() -> io::Result<Vec<u64>> {
    let mut text = String::new();
    match File::open(folder().join(FILE)) {
        Ok(mut file) => file.read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match DirBuilder::new().mode(0o700).create(folder()) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(Vec::new()),
            };
        }
        Err(error) => return Err(error),
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}
