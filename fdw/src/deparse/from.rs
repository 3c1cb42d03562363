//! What stands behind FROM and WHERE of a remote query.

use pgrx::pg_sys;
use pgrx::pg_sys::Node;

/// A condition of the query; expressions are over relations of the plan.
#[derive(Clone)]
pub enum Condition {
    /// A Boolean expression.
    Expression(*mut Node),
    /// `[NOT] EXISTS (SELECT FROM from WHERE conditions)`: a semi or anti join.
    Exists {
        /// NOT.
        is_negated: bool,
        /// What is looked at.
        from: From,
        /// AND between them; they see the outer rows too.
        conditions: Vec<Condition>,
    },
}

/// The words of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// INNER
    Inner,
    /// LEFT
    Left,
    /// RIGHT
    Right,
    /// FULL
    Full,
}

impl JoinKind {
    /// As SQL.
    pub fn sql(self) -> &'static [u8] {
        match self {
            JoinKind::Inner => b"INNER JOIN",
            JoinKind::Left => b"LEFT JOIN",
            JoinKind::Right => b"RIGHT JOIN",
            JoinKind::Full => b"FULL JOIN",
        }
    }
}

/// One relation, or several joined.
#[derive(Clone)]
pub enum From {
    /// The base relation with this range table index.
    Relation(u32),
    /// Two sides.
    Join {
        /// How.
        kind: JoinKind,
        /// Left side.
        left: Box<From>,
        /// Right side.
        right: Box<From>,
        /// ON, AND between them.
        on: Vec<Condition>,
    },
    /// Only rows that satisfy the conditions, where they cannot wait for WHERE:
    /// below a full join.
    Filtered {
        /// The rows.
        from: Box<From>,
        /// AND between them.
        conditions: Vec<Condition>,
    },
}

impl From {
    /// The relations whose columns may be named outside, as a set.
    #[allow(unsafe_code)]
    pub fn relids(&self) -> *mut pg_sys::Bitmapset {
        match self {
            // SAFETY: guarded; allocates in the planner's context.
            From::Relation(index) => unsafe { pg_sys::bms_make_singleton(*index as i32) },
            // SAFETY: as above; both are sets.
            From::Join { left, right, .. } => unsafe {
                pg_sys::bms_union(left.relids(), right.relids())
            },
            From::Filtered { from, .. } => from.relids(),
        }
    }

    /// The rows of `from` that satisfy `conditions`.
    pub fn filtered(from: From, conditions: Vec<Condition>) -> From {
        if conditions.is_empty() {
            from
        } else {
            From::Filtered { from: Box::new(from), conditions }
        }
    }
}
