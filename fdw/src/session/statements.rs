//! Statements that a session has prepared, so that each is parsed there once.

use std::rc::Rc;

use super::definitions;
use super::exchange::ToText;
use crate::transport::Ticket;

/// A statement as the extended protocol sends it.
#[derive(Clone)]
pub struct Statement {
    /// SQL in the database encoding.
    pub sql: Rc<[u8]>,
    /// Parameter types; 0 where the server shall infer.
    pub types: Rc<[u32]>,
    /// 1 binary, 0 text, one per parameter.
    pub parameter_formats: Rc<[i16]>,
    /// 1 binary, 0 text, one per column.
    pub result_formats: Rc<[i16]>,
    /// False for a text that will hardly come again.
    pub is_kept: bool,
}

impl ToText for Statement {
    fn text(&self) -> String {
        const LONGEST: usize = 500;
        let text = String::from_utf8_lossy(&self.sql);
        match text.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{} …", &text[..at]),
            None => text.into_owned(),
        }
    }
}

/// At most this many per session; the least recently used goes.
const CAPACITY: usize = 256;

struct Entry {
    sql: Box<[u8]>,
    types: Box<[u32]>,
    user: u32,
    name: u64,
    /// The request that carried Parse, until its answer has been seen.
    parsing: Option<Ticket>,
    used: u64,
    /// Of the definitions that the text was made from.
    generation: u64,
}

/// The prepared statements of one session.
#[derive(Default)]
pub struct StatementCache {
    entries: Vec<Entry>,
    clock: u64,
    /// Names to close with the next request.
    stale: Vec<u64>,
}

/// Where a statement stands.
pub enum Lookup {
    /// Prepared, or being prepared ahead on this connection.
    Known(u64),
    /// To be parsed under this fresh name.
    New(u64),
}

impl StatementCache {
    /// Finds or enters a statement. `is_pending` tells whether a request's
    /// answer is still to be seen.
    pub fn look_up(
        &mut self,
        sql: &[u8],
        types: &[u32],
        user: u32,
        ticket: Ticket,
        is_pending: impl Fn(Ticket) -> bool,
    ) -> Lookup {
        self.clock += 1;
        let clock = self.clock;
        let found = self
            .entries
            .iter()
            .position(|e| e.user == user && *e.types == *types && *e.sql == *sql);
        if let Some(at) = found {
            let entry = &mut self.entries[at];
            let is_current = entry.generation == definitions::generation();
            if is_current && entry.parsing.is_none_or(is_pending) {
                entry.used = clock;
                return Lookup::Known(entry.name);
            }
            // Older than a change of a table; or its Parse was answered and nobody
            // looked: unknown whether it holds.
            let entry = self.entries.swap_remove(at);
            self.stale.push(entry.name);
        }
        if self.entries.len() >= CAPACITY
            && let Some(oldest) = (0..self.entries.len()).min_by_key(|i| self.entries[*i].used)
        {
            let entry = self.entries.swap_remove(oldest);
            self.stale.push(entry.name);
        }
        self.entries.push(Entry {
            sql: sql.into(),
            types: types.into(),
            user,
            name: clock,
            parsing: Some(ticket),
            used: clock,
            generation: definitions::generation(),
        });
        Lookup::New(clock)
    }

    /// Takes note of a request's answer. A statement that failed is forgotten:
    /// it may not exist, or its plan may no longer fit its result.
    pub fn answered(&mut self, ticket: Ticket, name: u64, succeeded: bool) {
        let Some(at) = self.entries.iter().position(|e| e.name == name) else { return };
        if succeeded {
            if self.entries[at].parsing == Some(ticket) {
                self.entries[at].parsing = None;
            }
        } else {
            self.entries.swap_remove(at);
            self.stale.push(name);
        }
    }

    /// Names to close, once.
    pub fn take_stale(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.stale)
    }
}
