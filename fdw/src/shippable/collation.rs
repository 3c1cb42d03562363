//! Where an expression's collation comes from. The parser over there derives
//! collations anew from what is printed, so only those it would derive the same
//! may matter: the foreign columns' own and, between nodes of one cluster
//! (which have the same locale), the default.

use pgrx::pg_sys;

/// The collation of a subexpression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collation {
    /// Not collatable, or the default without a foreign column in it.
    None,
    /// From a foreign column.
    Safe(pg_sys::Oid),
    /// From elsewhere; must not matter.
    Unsafe,
}

impl Collation {
    /// Of a constant, a parameter, or another relation's column.
    pub fn of_outside(collation: pg_sys::Oid) -> Collation {
        if collation == pg_sys::InvalidOid || collation == pg_sys::DEFAULT_COLLATION_OID {
            Collation::None
        } else {
            Collation::Unsafe
        }
    }

    /// Of a foreign column.
    pub fn of_column(collation: pg_sys::Oid) -> Collation {
        if collation == pg_sys::InvalidOid { Collation::None } else { Collation::Safe(collation) }
    }

    /// Of two siblings together.
    pub fn and(self, other: Collation) -> Collation {
        use Collation::{None, Safe, Unsafe};
        match (self, other) {
            (Unsafe, _) | (_, Unsafe) => Unsafe,
            (None, c) | (c, None) => c,
            (Safe(a), Safe(b)) if a == b => self,
            (Safe(pg_sys::DEFAULT_COLLATION_OID), c) | (c, Safe(pg_sys::DEFAULT_COLLATION_OID)) => {
                c
            }
            (Safe(_), Safe(_)) => Unsafe,
        }
    }

    /// Of a node that returns `result` and whose arguments have `self`.
    pub fn of_result(self, result: pg_sys::Oid) -> Collation {
        if result == pg_sys::InvalidOid {
            Collation::None
        } else if self == Collation::Safe(result) {
            self
        } else if result == pg_sys::DEFAULT_COLLATION_OID && self == Collation::None {
            Collation::None
        } else {
            Collation::Unsafe
        }
    }

    /// Whether a function may be called with input collation `input` over there.
    pub fn permits(self, input: pg_sys::Oid, same_locale: bool) -> bool {
        input == pg_sys::InvalidOid
            || self == Collation::Safe(input)
            || (same_locale && self == Collation::None && input == pg_sys::DEFAULT_COLLATION_OID)
    }
}
