//! Whether copies are equal, and making them so.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::ffi::CStr;
use std::hash::{DefaultHasher, Hasher};

use cluster::replication::Change;
use cluster::{NodeId, TableId};
use fdw::ImageWriter;
use pgrx::prelude::*;

use super::copying::wait_for_prepared;
use super::key::Key;
use super::lock_table;
use super::ship::Outgoing;
use crate::catalog::{ReplicatedTable, qualified_name, registry};
use crate::membership;
use crate::report::{OrRaise, Report};

/// What is known of a row: its key as text, and a hash of all of it.
pub type Row = (String, i64);

/// Rows by the image of their key, in hexadecimal digits.
pub type Rows = BTreeMap<String, Row>;

/// Changes that travel in one message.
pub const BATCH_BYTES: usize = 256 * 1024;

#[pg_extern(sql = false)]
fn row_hashes(
    table_id: i64,
) -> TableIterator<'static, (name!(image, String), name!(key, String), name!(hash, i64))> {
    let table = registry().and_then(|registry| {
        registry.replicated(TableId(table_id as u64)).ok_or_else(|| {
            Report::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                format!("replicated table {table_id} does not exist on this node"),
            )
        })
    });
    let rows = table.and_then(rows_here).or_raise();
    TableIterator::new(rows.into_iter().map(|(image, (key, hash))| (image, key, hash)))
}

#[pg_extern(sql = false)]
fn row_images(table_id: i64, images: Vec<String>) -> SetOfIterator<'static, Vec<u8>> {
    let wanted: HashSet<String> = images.into_iter().collect();
    let batches = registry().and_then(|registry| {
        let table = registry.replicated(TableId(table_id as u64));
        table.map_or(Ok(Vec::new()), |table| images_here(table.rel, &wanted))
    });
    SetOfIterator::new(batches.or_raise())
}

/// The rows with the wanted keys, as changes in batches.
fn images_here(rel: pg_sys::Oid, wanted: &HashSet<String>) -> Result<Vec<Vec<u8>>, Report> {
    check_owner(rel)?;
    let mut batches = Vec::new();
    // SAFETY: the lock is kept; the slot holds a row of the table.
    unsafe {
        pg_sys::LockRelationOid(rel, pg_sys::AccessShareLock as i32);
        let rest = each_row(rel, &mut |writer, slot| {
            let start = writer.bytes.len();
            writer.bytes.push(Change::Present.code());
            writer.key(slot)?;
            if !wanted.contains(&hexadecimal(&writer.bytes[start + 1..])) {
                writer.bytes.truncate(start);
                return Ok(());
            }
            writer.row(slot)?;
            if writer.bytes.len() >= BATCH_BYTES {
                batches.push(std::mem::take(&mut writer.bytes));
            }
            Ok(())
        })?;
        batches.push(rest);
    }
    Ok(batches)
}

#[pg_extern(sql = false)]
fn check_replicated(
    rel: pg_sys::Oid,
) -> TableIterator<'static, (name!(node_id, i32), name!(key, String), name!(difference, String))> {
    let found = check(rel).or_raise();
    TableIterator::new(found.into_iter().map(|(node, key, what)| (node.0 as i32, key, what)))
}

#[pg_extern(sql = false)]
fn repair_replicated(rel: pg_sys::Oid) -> i64 {
    repair(rel).or_raise()
}

fn check(rel: pg_sys::Oid) -> Result<Vec<(NodeId, String, String)>, Report> {
    let table = replicated(rel)?;
    hold(table)?;
    let here = rows_here(table)?;
    let mut found = Vec::new();
    for node in others()? {
        let there = rows_there(node, table)?;
        for (image, (key, hash)) in &here {
            match there.get(image) {
                None => found.push((node, key.clone(), "the row is missing there".to_owned())),
                Some((_, other)) if other != hash => {
                    found.push((node, key.clone(), "the rows differ".to_owned()));
                }
                Some(_) => {}
            }
        }
        let more = there.iter().filter(|(image, _)| !here.contains_key(*image));
        found.extend(
            more.map(|(_, (key, _))| (node, key.clone(), "the row is only there".to_owned())),
        );
    }
    Ok(found)
}

/// Brings the other copies in line with this node's. Returns how many rows were
/// changed on all of them.
fn repair(rel: pg_sys::Oid) -> Result<i64, Report> {
    let table = replicated(rel)?;
    hold(table)?;
    let here = rows_here(table)?;
    let mut changed = 0;
    for node in others()? {
        let there = rows_there(node, table)?;
        let gone: Vec<_> = there.keys().filter(|image| !here.contains_key(*image)).collect();
        let is_due = |image: &str| {
            let hash = here.get(image).map(|(_, hash)| *hash);
            hash.is_some() && there.get(image).map(|(_, hash)| *hash) != hash
        };
        let due = here.keys().filter(|image| is_due(image)).count();
        changed += (gone.len() + due) as i64;
        let mut outgoing = Outgoing::to(table.table_id, vec![node]);
        let mut bytes = Vec::new();
        for image in gone {
            bytes.push(Change::Absent.code());
            bytes.extend(bytes_of(image));
        }
        outgoing.send(&mut bytes)?;
        // SAFETY: the table was locked by `replicated`.
        unsafe {
            each_row(rel, &mut |writer, slot| {
                let start = writer.bytes.len();
                writer.bytes.push(Change::Present.code());
                writer.key(slot)?;
                if !is_due(&hexadecimal(&writer.bytes[start + 1..])) {
                    writer.bytes.truncate(start);
                    return Ok(());
                }
                writer.row(slot)?;
                if writer.bytes.len() >= BATCH_BYTES {
                    outgoing.send(&mut writer.bytes)?;
                }
                Ok(())
            })
            .and_then(|mut rest| outgoing.send(&mut rest))?;
        }
        outgoing.wait()?;
    }
    Ok(changed)
}

/// Sends the rows of this node to all others, which have rows with the same keys.
pub fn send_again(rel: pg_sys::Oid) -> Result<(), Report> {
    let Some(table) = registry()?.replicated_of(rel) else { return Ok(()) };
    let mut outgoing = Outgoing::to_others(table.table_id)?;
    // SAFETY: the statement that changed the table has it locked.
    let mut rest = unsafe {
        each_row(rel, &mut |writer, slot| {
            writer.bytes.push(Change::Present.code());
            writer.key(slot)?;
            writer.row(slot)?;
            if writer.bytes.len() >= BATCH_BYTES {
                outgoing.send(&mut writer.bytes)?;
            }
            Ok(())
        })
    }?;
    outgoing.send(&mut rest)?;
    outgoing.wait()
}

fn others() -> Result<Vec<NodeId>, Report> {
    let me = membership::my_identity()?.node_id;
    let registry = registry()?;
    let others = registry.members().iter().filter(|member| member.is_active && member.id != me);
    Ok(others.map(|member| member.id).collect())
}

/// Writers wait until the transaction ends.
fn hold(table: ReplicatedTable) -> Result<(), Report> {
    lock_table(table.table_id)
}

/// A table that the user owns, locked against changes of its definition.
fn replicated(rel: pg_sys::Oid) -> Result<ReplicatedTable, Report> {
    let table = registry()?.replicated_of(rel).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("{} is not a replicated table", qualified_name(rel)),
        )
        .hint("Look at shardman.global_tables.")
    })?;
    check_owner(rel)?;
    // SAFETY: waits, answering to cancel.
    unsafe { pg_sys::LockRelationOid(rel, pg_sys::AccessShareLock as i32) };
    Ok(table)
}

/// Rows are read whatever policies say.
pub fn check_owner(rel: pg_sys::Oid) -> Result<(), Report> {
    // SAFETY: syscache look-ups.
    if unsafe { pg_sys::pg_class_ownercheck(rel, pg_sys::GetUserId()) } {
        return Ok(());
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("must be owner of table {}", qualified_name(rel)),
    ))
}

fn rows_there(node: NodeId, table: ReplicatedTable) -> Result<Rows, Report> {
    let remote = fdw::session::for_node(node)?;
    let sql = "SELECT image, key, hash FROM shardman.row_hashes($1)";
    Ok(read_rows(remote.query(sql, &[Some(&table.table_id.to_string())])?))
}

/// The rows of `row_hashes`.
pub fn read_rows(rows: Vec<Vec<Option<String>>>) -> Rows {
    let read = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().flatten();
        let image = values.next()?;
        let key = values.next()?;
        Some((image, (key, values.next()?.parse().ok()?)))
    };
    rows.into_iter().filter_map(read).collect()
}

/// This node's rows.
pub fn rows_here(table: ReplicatedTable) -> Result<Rows, Report> {
    check_owner(table.rel)?;
    wait_for_prepared(table.rel)?;
    let key = Key::of_table(table.rel)?;
    let mut rows = Rows::new();
    // SAFETY: the slot holds a row of the table, whose key columns exist.
    unsafe {
        each_row(table.rel, &mut |writer, slot| {
            writer.key(slot)?;
            let image = hexadecimal(&writer.bytes);
            writer.bytes.clear();
            writer.row(slot)?;
            let mut hasher = DefaultHasher::new();
            hasher.write(&writer.bytes);
            writer.bytes.clear();
            let printed = key.columns.iter().map(|column| print(slot, *column));
            let printed = printed.collect::<Vec<_>>().join(", ");
            rows.insert(image, (printed, hasher.finish() as i64));
            Ok(())
        })?;
    }
    Ok(rows)
}

/// Shows every row of a table to `look`, which may write images and take them.
/// Returns what it has not taken. Sees what is committed when it begins.
///
/// SAFETY: `rel` is a table, locked.
unsafe fn each_row(
    rel: pg_sys::Oid,
    look: &mut dyn FnMut(&mut ImageWriter, *mut pg_sys::TupleTableSlot) -> Result<(), Report>,
) -> Result<Vec<u8>, Report> {
    // SAFETY: the caller's; the transaction's end lets go of the snapshot as well.
    unsafe {
        let keeps = pg_sys::XactIsoLevel as u32 >= pg_sys::XACT_REPEATABLE_READ;
        let snapshot = pg_sys::RegisterSnapshot(match keeps {
            true => pg_sys::GetTransactionSnapshot(),
            false => pg_sys::GetLatestSnapshot(),
        });
        let rest = each_row_of(rel, snapshot, look)?;
        pg_sys::UnregisterSnapshot(snapshot);
        Ok(rest)
    }
}

/// The same of the rows that a snapshot sees.
///
/// SAFETY: `rel` is a table, the snapshot is registered.
pub unsafe fn each_row_of(
    rel: pg_sys::Oid,
    snapshot: pg_sys::Snapshot,
    look: &mut dyn FnMut(&mut ImageWriter, *mut pg_sys::TupleTableSlot) -> Result<(), Report>,
) -> Result<Vec<u8>, Report> {
    // SAFETY: the caller's; what is opened is closed below or by the
    // transaction's end.
    unsafe {
        let relation = pg_sys::table_open(rel, pg_sys::AccessShareLock as i32);
        let key = Key::of(relation)?;
        let mut writer = ImageWriter::new((*relation).rd_att, &key.columns);
        let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        let scan = pg_sys::table_beginscan(relation, snapshot, 0, std::ptr::null_mut());
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        while pg_sys::table_scan_getnextslot(scan, forward, slot) {
            check_for_interrupts!();
            look(&mut writer, slot)?;
        }
        pg_sys::table_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        let rest = std::mem::take(&mut writer.bytes);
        writer.finish();
        Ok(rest)
    }
}

/// SAFETY: the slot holds a row with that column, not NULL.
unsafe fn print(slot: *mut pg_sys::TupleTableSlot, column: i16) -> String {
    // SAFETY: the caller's; guarded calls; the text is copied at once.
    unsafe {
        let descriptor = (*slot).tts_tupleDescriptor;
        let natts = (*descriptor).natts as usize;
        let type_oid = (*descriptor).attrs.as_slice(natts)[column as usize - 1].atttypid;
        let value = *(*slot).tts_values.add(column as usize - 1);
        let (mut output, mut is_varlena) = (pg_sys::InvalidOid, false);
        pg_sys::getTypeOutputInfo(type_oid, &raw mut output, &raw mut is_varlena);
        let text = pg_sys::OidOutputFunctionCall(output, value);
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

/// The bytes of an image.
pub fn bytes_of(image: &str) -> impl Iterator<Item = u8> {
    (0..image.len() / 2)
        .filter_map(|at| u8::from_str_radix(image.get(2 * at..2 * at + 2)?, 16).ok())
}

/// Bytes as digits, to be read back with [`bytes_of`].
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
