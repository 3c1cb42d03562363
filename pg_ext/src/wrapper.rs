//! The wrapper's SQL-callable functions.
use pgrx::prelude::*;
