//! Recovery at an operator's request.

use pgrx::prelude::*;

use super::pass::{self, Sessions};
use crate::report::OrRaise;

/// One pass, now. Returns how many participants were finished.
#[pg_extern(sql = false)]
fn recover_xacts() -> i64 {
    let tally = pass::run(&mut Sessions::default()).or_raise();
    tally.troubles.iter().for_each(|trouble| warning!("{trouble}"));
    tally.finished
}
