//! ANALYZE: size, count and a random sample from the other side.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::pg_sys;

use crate::backend::attributes;
use crate::error::{Error, callback};
use crate::placement::{Placement, RemoteRelation};
use crate::session::{self, Request, Slot, Statement};
use crate::types::RowReader;

/// A plain-old frame.
pub unsafe extern "C-unwind" fn analyze_table(
    relation: pg_sys::Relation,
    function: *mut pg_sys::AcquireSampleRowsFunc,
    pages: *mut pg_sys::BlockNumber,
) -> bool {
    // SAFETY: called by ANALYZE with an open relation; no destructor here.
    unsafe {
        *function = Some(acquire_sample);
        *pages = callback(|| remote_pages((*relation).rd_id));
    }
    true
}

/// A plain-old frame.
unsafe extern "C-unwind" fn acquire_sample(
    relation: pg_sys::Relation,
    _level: i32,
    rows: *mut pg_sys::HeapTuple,
    wanted: i32,
    total: *mut f64,
    dead: *mut f64,
) -> i32 {
    // SAFETY: called by ANALYZE; `rows` has room for `wanted` tuples.
    unsafe {
        *dead = 0.0;
        callback(|| sample(relation, rows, wanted, total))
    }
}

fn open(relid: pg_sys::Oid) -> Result<(Rc<Slot>, RemoteRelation), Error> {
    let placement = Placement::of(relid)?;
    // SAFETY: guarded.
    let user = unsafe { pg_sys::GetUserId() };
    let relation = RemoteRelation::of(relid, placement);
    Ok((session::acquire(placement.target(user))?, relation))
}

fn query(
    slot: &Rc<Slot>,
    sql: Vec<u8>,
    formats: Vec<i16>,
) -> Result<crate::transport::Reply, Error> {
    let statement = Statement {
        sql: sql.into(),
        types: Rc::new([]),
        parameter_formats: Rc::new([]),
        result_formats: formats.into(),
        is_kept: false,
    };
    let request = Request { statement: &statement, parameters: &[], portal: "", max_rows: 0 };
    let ticket = slot.send(&request)?;
    session::collect(slot, ticket, &statement)
}

fn one_number(slot: &Rc<Slot>, sql: Vec<u8>) -> Result<f64, Error> {
    let rows = query(slot, sql, Vec::new())?.rows.to_text();
    let cell = rows.first().and_then(|r| r.first()).and_then(|c| c.as_deref());
    Ok(cell.and_then(|c| c.parse().ok()).unwrap_or(0.0))
}

fn remote_pages(relid: pg_sys::Oid) -> Result<u32, Error> {
    let (slot, relation) = open(relid)?;
    let name = String::from_utf8_lossy(&relation.sql_name).into_owned();
    let sql = format!(
        "SELECT pg_catalog.pg_relation_size({}::pg_catalog.regclass) / pg_catalog.current_setting('block_size')::bigint",
        crate::backend::quote_literal(&name)
    );
    Ok(one_number(&slot, sql.into_bytes())? as u32)
}

unsafe fn sample(
    relation: pg_sys::Relation,
    rows: *mut pg_sys::HeapTuple,
    wanted: i32,
    total: *mut f64,
) -> Result<i32, Error> {
    // SAFETY: ANALYZE's pointers; guarded calls. Tuples are formed in the
    // context that is current, which is ANALYZE's.
    unsafe {
        let descriptor = (*relation).rd_att;
        let natts = (*descriptor).natts as usize;
        let all = attributes(descriptor);
        let columns: Vec<i32> = all.iter().map(|a| i32::from(a.number)).collect();
        let (slot, remote) = open((*relation).rd_id)?;
        let mut count = b"SELECT pg_catalog.count(*) FROM ".to_vec();
        count.extend(&remote.sql_name);
        *total = one_number(&slot, count)?;
        let mut reader = RowReader::new(&all, &columns, natts, pg_sys::CurrentMemoryContext);
        let names: Vec<Vec<u8>> = all.iter().map(|a| remote.column(a)).collect();
        let mut sql = b"SELECT ".to_vec();
        sql.extend(names.join(&b", "[..]));
        sql.extend(b" FROM ");
        sql.extend(&remote.sql_name);
        sql.extend(format!(" ORDER BY pg_catalog.random() LIMIT {wanted}").bytes());
        let reply = query(&slot, sql, reader.formats())?;
        let mut values = vec![pg_sys::Datum::from(0usize); natts];
        let mut nulls = vec![true; natts];
        let (mut position, mut n) = (0, 0);
        while let Some(body) = reply.rows.next_row(&mut position) {
            if n == wanted {
                break;
            }
            reader.read(body, values.as_mut_ptr(), nulls.as_mut_ptr())?;
            let tuple =
                pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            *rows.add(n as usize) = tuple;
            n += 1;
        }
        Ok(n)
    }
}
