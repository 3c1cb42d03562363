//! What a router's plan carries in `custom_private`.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::routed::{Key, Repetition, RowCheck, Violation};
use super::statement_triggers::StatementTriggers;
use crate::backend::{cells, int_list, ints, oids, string_node, text_of};

/// [`Repetition`] without a parameter.
const ONCE: i32 = -1;
const UNNUMBERED: i32 = -2;

/// The parts, in the list's order: Query, integers, OIDs, strings.
pub struct RouterPrivate {
    /// The statement over the parents, with `$n`.
    pub query: *mut pg_sys::Query,
    /// Sharded tables of its range tables, each once.
    pub parents: Vec<pg_sys::Oid>,
    /// The strongest lock that the statement takes of each.
    pub modes: Vec<i32>,
    /// Number of partitions.
    pub modulus: u32,
    /// It was planned for known values of parameters and will be run with those.
    pub is_for_values: bool,
    /// The partition key.
    pub keys: Vec<Key>,
    /// What must be true before it runs.
    pub checks: Vec<RowCheck>,
    /// How often it is run.
    pub repetition: Repetition,
    /// What is fired around it.
    pub triggers: StatementTriggers,
}

impl RouterPrivate {
    /// For the plan.
    pub fn to_list(&self) -> *mut pg_sys::List {
        let counts = [self.parents.len(), self.keys.len(), self.checks.len()];
        let repetition = match self.repetition {
            Repetition::Once => ONCE,
            Repetition::EachPartition(None) => UNNUMBERED,
            Repetition::EachPartition(Some(parameter)) => parameter as i32,
        };
        let mut numbers = vec![self.modulus as i32, i32::from(self.is_for_values), repetition];
        numbers.extend([self.triggers.target as i32, self.triggers.to_bits()]);
        numbers.extend(counts.iter().map(|count| *count as i32));
        numbers.extend(&self.modes);
        numbers.extend(self.keys.iter().map(|key| key.parameter.map_or(-1, |p| p as i32)));
        numbers.extend(self.checks.iter().map(|check| check.parameter as i32));
        let all = self
            .parents
            .iter()
            .copied()
            .chain(self.keys.iter().flat_map(|key| [key.function, key.collation]));
        let names = self.checks.iter().flat_map(|check| {
            [check.violation.relation.as_str(), check.violation.policy.as_deref().unwrap_or("")]
        });
        // SAFETY: guarded calls that only allocate.
        unsafe {
            let all = all.fold(std::ptr::null_mut(), |list, oid| pg_sys::lappend_oid(list, oid));
            let names = names.fold(std::ptr::null_mut(), |list, name| {
                pg_sys::lappend(list, string_node(name.as_bytes()).cast())
            });
            let list = pg_sys::lappend(std::ptr::null_mut(), self.query.cast());
            let list = pg_sys::lappend(list, int_list(&numbers).cast());
            let list = pg_sys::lappend(list, all.cast());
            pg_sys::lappend(list, names.cast())
        }
    }

    /// # Safety
    /// `list` was made by [`RouterPrivate::to_list`].
    pub unsafe fn from_list(list: *const pg_sys::List) -> RouterPrivate {
        // SAFETY: per the contract.
        unsafe {
            let mut parts = cells::<pg_sys::Node>(list);
            let query = parts.next().unwrap_or_default().cast();
            let numbers = parts.next().map(|n| ints(n.cast())).unwrap_or_default();
            let all = parts.next().map(|n| oids(n.cast())).unwrap_or_default();
            let names: Vec<String> = parts
                .next()
                .into_iter()
                .flat_map(|n| cells::<pg_sys::String>(n.cast()))
                .map(|name| text_of((*name).sval))
                .collect();
            let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
            let [parents, keys, checks] = [5, 6, 7].map(|at| number(at) as usize);
            let mut rest = numbers.iter().skip(8).copied();
            let modes = rest.by_ref().take(parents).collect();
            let key_parameters: Vec<i32> = rest.by_ref().take(keys).collect();
            let check_parameters: Vec<i32> = rest.take(checks).collect();
            let (parents, functions) = all.split_at(parents.min(all.len()));
            RouterPrivate {
                query,
                parents: parents.to_vec(),
                modes,
                modulus: number(0) as u32,
                is_for_values: number(1) != 0,
                triggers: StatementTriggers::from_bits(number(3) as u32, number(4)),
                repetition: match number(2) {
                    ONCE => Repetition::Once,
                    other => Repetition::EachPartition(usize::try_from(other).ok()),
                },
                keys: functions
                    .chunks_exact(2)
                    .zip(key_parameters)
                    .map(|(pair, parameter)| Key {
                        parameter: usize::try_from(parameter).ok(),
                        function: pair[0],
                        collation: pair[1],
                    })
                    .collect(),
                checks: names
                    .chunks_exact(2)
                    .zip(check_parameters)
                    .map(|(pair, parameter)| RowCheck {
                        parameter: parameter as usize,
                        violation: Violation {
                            relation: pair[0].clone(),
                            policy: Some(pair[1].clone()).filter(|name| !name.is_empty()),
                        },
                    })
                    .collect(),
            }
        }
    }
}
