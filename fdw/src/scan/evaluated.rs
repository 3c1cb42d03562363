//! Parameters of a scan's remote SQL.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use crate::backend::cells;
use crate::types::{EncodingGuard, Format, ParameterWriter, TransmissionModes};

/// Expressions of the plan and what they were last evaluated to.
pub struct Evaluated {
    /// From value to wire, one per parameter.
    pub writers: Vec<ParameterWriter>,
    /// ExprStates, one per parameter.
    pub expressions: *mut *mut pg_sys::ExprState,
    /// Their results.
    pub values: *mut pg_sys::Datum,
    /// Whether those are NULL.
    pub nulls: *mut bool,
    /// Evaluated, or being so, for the present run.
    pub is_fresh: bool,
    /// In wire form.
    pub wire: Vec<u8>,
}

impl Evaluated {
    /// The state of a plan's `fdw_exprs`.
    ///
    /// # Safety
    /// `node` is being initialised by the executor; `context` is its query's.
    pub unsafe fn new(
        node: *mut pg_sys::ForeignScanState,
        expressions: *mut pg_sys::List,
        context: pg_sys::MemoryContext,
    ) -> Evaluated {
        // SAFETY: per the contract.
        unsafe {
            let mut evaluated = Evaluated::unwritten(node.cast(), expressions, context);
            evaluated.add_writers(expressions, context);
            evaluated
        }
    }

    /// The same for any plan node, without the way to the wire.
    ///
    /// # Safety
    /// As [`Evaluated::new`].
    pub unsafe fn unwritten(
        parent: *mut pg_sys::PlanState,
        expressions: *mut pg_sys::List,
        context: pg_sys::MemoryContext,
    ) -> Evaluated {
        // SAFETY: guarded; arrays of the list's length in the query's context.
        unsafe {
            let states: Vec<*mut pg_sys::ExprState> =
                cells(pg_sys::ExecInitExprList(expressions, parent)).collect();
            let n = states.len().max(1);
            let allocate = |size: usize| pg_sys::MemoryContextAllocZero(context, n * size);
            let array: *mut *mut pg_sys::ExprState = allocate(size_of::<usize>()).cast();
            for (i, state) in states.iter().enumerate() {
                *array.add(i) = *state;
            }
            Evaluated {
                writers: Vec::new(),
                expressions: array,
                values: allocate(size_of::<pg_sys::Datum>()).cast(),
                nulls: allocate(size_of::<bool>()).cast(),
                is_fresh: false,
                wire: Vec::new(),
            }
        }
    }

    /// What turns the values into wire form.
    ///
    /// # Safety
    /// `expressions` are those that this was made of; `context` outlives it.
    pub unsafe fn add_writers(
        &mut self,
        expressions: *mut pg_sys::List,
        context: pg_sys::MemoryContext,
    ) {
        // SAFETY: per the contract; guarded.
        self.writers = unsafe {
            cells::<pg_sys::Node>(expressions)
                .map(|e| ParameterWriter::new(pg_sys::exprType(e), context))
                .collect()
        };
    }

    /// Writes the values in wire form.
    ///
    /// # Safety
    /// The values have been evaluated and still live.
    pub unsafe fn encode(&mut self) {
        self.wire.clear();
        if self.writers.is_empty() {
            return;
        }
        let modes = self
            .writers
            .iter()
            .any(|w| w.format() == Format::Text)
            .then(|| TransmissionModes::enter(None));
        {
            let _encoding = EncodingGuard::enter();
            for (i, writer) in self.writers.iter_mut().enumerate() {
                // SAFETY: per the contract; arrays have an entry per writer.
                unsafe {
                    writer.write(*self.values.add(i), *self.nulls.add(i), &mut self.wire);
                }
            }
        }
        if let Some(modes) = modes {
            modes.leave();
        }
    }
}
