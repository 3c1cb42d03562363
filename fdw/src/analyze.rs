//! ANALYZE: size, count and a random sample from the other side.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::pg_sys;

use crate::backend::attributes;
use crate::error::{Error, callback};
use crate::options;
use crate::placement::{Placement, RemoteRelation};
use crate::session::{self, Request, Slot, Statement};
use crate::transport::{RowBuffer, Ticket};
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

/// The option `analyze_sampling` of a foreign table or its server.
fn sampling(relid: pg_sys::Oid) -> String {
    let (server, own) = options::table_options(relid);
    let options = own.or(options::server_options(server));
    options.get("analyze_sampling").unwrap_or("auto").to_string()
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

/// The rows of a query on the server of a foreign table, as text.
pub fn ask(relid: pg_sys::Oid, sql: String) -> Result<Vec<Vec<Option<String>>>, Error> {
    let (slot, _) = open(relid)?;
    Ok(query(&slot, sql.into_bytes(), Vec::new())?.rows.to_text())
}

/// What the other side's catalogue says of a relation.
struct Size {
    kind: u8,
    /// Now; 0 for what has no storage.
    pages: f64,
    /// As it was when somebody over there counted; `None` if nobody has.
    rows: Option<f64>,
}

fn size(slot: &Rc<Slot>, relation: &RemoteRelation) -> Result<Size, Error> {
    let name = crate::backend::quote_literal(&String::from_utf8_lossy(&relation.sql_name));
    let sql = format!(
        "SELECT relkind, pg_catalog.pg_relation_size(oid) / pg_catalog.current_setting('block_size')::pg_catalog.int8, \
         relpages, reltuples FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) {name}::pg_catalog.regclass"
    );
    let rows = query(slot, sql.into_bytes(), Vec::new())?.rows.to_text();
    let cell = |i: usize| rows.first().and_then(|r| r.get(i)).and_then(|c| c.as_deref());
    let number = |i: usize| cell(i).and_then(|c| c.parse::<f64>().ok()).unwrap_or(0.0);
    let (pages, counted_pages, counted) = (number(1), number(2), number(3));
    // As many on each page as there were then.
    let growth = if pages > 0.0 && counted_pages > 0.0 { pages / counted_pages } else { 1.0 };
    Ok(Size {
        kind: cell(0).and_then(|c| c.bytes().next()).unwrap_or_default(),
        pages,
        rows: (counted > 0.0).then_some(counted * growth),
    })
}

fn remote_pages(relid: pg_sys::Oid) -> Result<u32, Error> {
    let (slot, relation) = open(relid)?;
    Ok(size(&slot, &relation)?.pages as u32)
}

fn count(slot: &Rc<Slot>, relation: &RemoteRelation) -> Result<f64, Error> {
    let sql = [b"SELECT pg_catalog.count(*) FROM ", relation.sql_name.as_slice()].concat();
    let rows = query(slot, sql, Vec::new())?.rows.to_text();
    let cell = rows.first().and_then(|r| r.first()).and_then(|c| c.as_deref());
    Ok(cell.and_then(|c| c.parse().ok()).unwrap_or(0.0))
}

/// How the other side picks the sample: the FROM clause's end, and how many rows
/// the relation has; `None` if all rows are to be sent and counted here.
fn choice(
    slot: &Rc<Slot>,
    relation: &RemoteRelation,
    method: &str,
    wanted: i32,
) -> Result<Option<(String, f64)>, Error> {
    if method == "off" {
        return Ok(None);
    }
    let size = size(slot, relation)?;
    // Two passes over there are less than all rows on the way here.
    let Some(rows) = size.rows else {
        let sorted = format!(" ORDER BY pg_catalog.random() LIMIT {wanted}");
        return Ok(Some((sorted, count(slot, relation)?)));
    };
    let fraction = f64::from(wanted) / rows;
    if fraction >= 0.8 {
        return Ok(None);
    }
    let has_blocks = matches!(size.kind, b'r' | b'm' | b'p');
    let end = match method {
        "system" if has_blocks => format!(" TABLESAMPLE SYSTEM ({})", fraction * 100.0),
        "auto" | "bernoulli" if has_blocks => {
            format!(" TABLESAMPLE BERNOULLI ({})", fraction * 100.0)
        }
        _ => format!(" WHERE pg_catalog.random() < {fraction}"),
    };
    Ok(Some((end, rows)))
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
        let method = sampling((*relation).rd_id);
        let choice = choice(&slot, &remote, &method, wanted)?;
        let mut reader = RowReader::new(&all, &columns, natts, pg_sys::CurrentMemoryContext);
        let names: Vec<Vec<u8>> = all.iter().map(|a| remote.column(a)).collect();
        let mut sql = b"SELECT ".to_vec();
        sql.extend(names.join(&b", "[..]));
        sql.extend(b" FROM ");
        sql.extend(&remote.sql_name);
        if let Some((end, _)) = &choice {
            sql.extend(end.bytes());
        }
        let mut values = vec![pg_sys::Datum::from(0usize); natts];
        let mut nulls = vec![true; natts];
        let mut seen = 0_usize;
        let wanted = wanted.max(0) as usize;
        let mut chunks = Chunks::open(slot, sql, reader.formats())?;
        while let Some(chunk) = chunks.next()? {
            let mut position = 0;
            while let Some(body) = chunk.next_row(&mut position) {
                seen += 1;
                // Of more than wanted each has the same chance.
                let place = match seen <= wanted {
                    true => seen - 1,
                    false => (pg_sys::anl_random_fract() * seen as f64) as usize,
                };
                if place >= wanted {
                    continue;
                }
                reader.read(body, values.as_mut_ptr(), nulls.as_mut_ptr())?;
                let tuple =
                    pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
                let former = std::mem::replace(&mut *rows.add(place), tuple);
                if seen > wanted {
                    pg_sys::heap_freetuple(former);
                }
            }
        }
        *total = choice.map_or(seen as f64, |(_, rows)| rows.max(seen as f64));
        let n = seen.min(wanted) as i32;
        Ok(n)
    }
}

/// Rows of a large answer, a chunk at a time.
struct Chunks {
    slot: Rc<Slot>,
    portal: String,
    statement: Statement,
    pending: Option<Ticket>,
}

/// Rows of a chunk.
const CHUNK: i32 = 10_000;

impl Chunks {
    fn open(slot: Rc<Slot>, sql: Vec<u8>, formats: Vec<i16>) -> Result<Chunks, Error> {
        let statement = Statement {
            sql: sql.into(),
            types: Rc::new([]),
            parameter_formats: Rc::new([]),
            result_formats: formats.into(),
            is_kept: false,
        };
        let portal = slot.enter()?.new_portal();
        let request =
            Request { statement: &statement, parameters: &[], portal: &portal, max_rows: CHUNK };
        let pending = Some(slot.send(&request)?);
        Ok(Chunks { slot, portal, statement, pending })
    }

    /// The next chunk; `None` at the end.
    fn next(&mut self) -> Result<Option<RowBuffer>, Error> {
        let Some(ticket) = self.pending.take() else { return Ok(None) };
        let reply = session::collect(&self.slot, ticket, &self.statement)?;
        let mut session = self.slot.enter()?;
        if reply.suspended {
            self.pending = Some(session.continue_portal(&self.portal, CHUNK)?);
        } else {
            session.close_portal(std::mem::take(&mut self.portal));
        }
        Ok(Some(reply.rows))
    }
}
