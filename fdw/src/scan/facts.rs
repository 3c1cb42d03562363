//! How large a foreign table is and by which columns its rows are found, for the
//! costs of joins.
//!
//! The partitions of a sharded table are alike, so one that is on this node tells
//! what those elsewhere are like, without asking. Where there is none, the other
//! side is asked, at most once a minute for a table.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::analyze::ask;
use crate::backend::{bytes_of, oids, quote_literal};
use crate::cluster_map::{self, Family};
use crate::error::Error;
use crate::placement::{Placement, RemoteRelation};

/// What was found out.
#[derive(Debug)]
pub struct Facts {
    /// Size in blocks.
    pub pages: f64,
    /// Rows; `None` if nobody has counted.
    pub tuples: Option<f64>,
    /// Names over there of the columns that indexes begin with.
    pub indexed: Vec<Vec<u8>>,
}

/// How long an answer holds.
const LOCAL: Duration = Duration::from_secs(1);
const REMOTE: Duration = Duration::from_secs(60);

/// Whose facts they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Table(pg_sys::Oid),
    Family(u64),
}

type Known = HashMap<Key, (Instant, Option<Rc<Facts>>)>;

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// What is known of a foreign table, asked for if need be; `None` if nothing can
/// be found out. That the other side cannot be reached is left to the scan to say.
pub fn facts(relid: pg_sys::Oid, placement: Placement) -> Option<Rc<Facts>> {
    let family = match (placement, cluster_map::map()) {
        (Placement::Node(_), Some(map)) => map.family_of_leaf(relid),
        _ => None,
    };
    let key = family.as_ref().map_or(Key::Table(relid), |f| Key::Family(f.table));
    let known = KNOWN.with(|known| known.borrow().get(&key).cloned());
    if let Some((until, facts)) = known
        && Instant::now() < until
    {
        return facts;
    }
    let (found, holds) = match family {
        Some(Family { here: Some(leaf), .. }) => (Some(of_local_leaf(leaf)), LOCAL),
        _ => (of_remote(relid, placement).ok().flatten(), REMOTE),
    };
    let found = found.map(Rc::new);
    KNOWN.with(|known| known.borrow_mut().insert(key, (Instant::now() + holds, found.clone())));
    found
}

fn of_local_leaf(leaf: pg_sys::Oid) -> Facts {
    // SAFETY: guarded calls on a relation opened here; its lock stays to the end of
    // the transaction, as that of every leaf that planning looks at.
    unsafe {
        let lock = pg_sys::AccessShareLock as i32;
        let relation = pg_sys::table_open(leaf, lock);
        let (mut pages, mut tuples, mut visible) = (0, 0.0, 0.0);
        pg_sys::estimate_rel_size(
            relation,
            std::ptr::null_mut(),
            &raw mut pages,
            &raw mut tuples,
            &raw mut visible,
        );
        let mut indexed = Vec::new();
        for index in oids(pg_sys::RelationGetIndexList(relation)) {
            let index = pg_sys::index_open(index, lock);
            let form = (*index).rd_index;
            let column = (*form).indkey.values.as_slice(1).first().copied().unwrap_or(0);
            if (*form).indisvalid
                && column > 0
                && pg_sys::RelationGetIndexPredicate(index).is_null()
            {
                indexed.push(bytes_of(pg_sys::get_attname(leaf, column, true)));
            }
            pg_sys::index_close(index, pg_sys::NoLock as i32);
        }
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        Facts { pages: f64::from(pages), tuples: Some(tuples), indexed }
    }
}

fn of_remote(relid: pg_sys::Oid, placement: Placement) -> Result<Option<Facts>, Error> {
    let relation = RemoteRelation::of(relid, placement);
    let name = quote_literal(&String::from_utf8_lossy(&relation.sql_name));
    let rows = ask(
        relid,
        format!(
            "SELECT pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::pg_catalog.int8, \
             c.relpages, c.reltuples, ARRAY(SELECT a.attname FROM pg_catalog.pg_index i \
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid \
             AND a.attnum OPERATOR(pg_catalog.=) i.indkey[0] \
             WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisvalid AND i.indpred IS NULL \
             )::pg_catalog.text[]::pg_catalog.text \
             FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({name})"
        ),
    )?;
    Ok(rows.first().map(|row| {
        let number = |i: usize| -> f64 {
            row.get(i).and_then(|c| c.as_deref()).and_then(|c| c.parse().ok()).unwrap_or(-1.0)
        };
        let (pages, counted_pages, counted) = (number(0).max(0.0), number(1), number(2));
        let tuples = (counted >= 0.0 && counted_pages > 0.0)
            .then(|| counted / counted_pages * if pages > 0.0 { pages } else { counted_pages });
        let names = row.get(3).and_then(|c| c.as_deref()).unwrap_or_default();
        Facts { pages, tuples, indexed: array_of_names(names) }
    }))
}

/// The elements of a one-dimensional array of names as text.
fn array_of_names(text: &str) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut name: Option<Vec<u8>> = None;
    let (mut is_quoted, mut is_escaped) = (false, false);
    for byte in text.trim_start_matches('{').trim_end_matches('}').bytes() {
        match byte {
            _ if is_escaped => {
                name.get_or_insert_default().push(byte);
                is_escaped = false;
            }
            b'\\' => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => names.extend(name.take()),
            _ => name.get_or_insert_default().push(byte),
        }
    }
    names.extend(name);
    names
}

#[cfg(test)]
mod tests {
    use super::array_of_names;

    #[test]
    fn names_come_out_of_an_array() {
        let names = |text| -> Vec<String> {
            array_of_names(text).into_iter().map(|n| String::from_utf8(n).unwrap()).collect()
        };
        assert_eq!(names("{}"), [""; 0]);
        assert_eq!(names("{id,v}"), ["id", "v"]);
        assert_eq!(names(r#"{"The Id","a,b","c\"d\\e"}"#), ["The Id", "a,b", r#"c"d\e"#]);
    }
}
