//! All orders of all operations that may have happened, one after another: slow
//! and too simple to be wrong.

use super::{Model, Operation};

/// Whether there is an order.
pub fn has_order<M: Model>(history: &[Operation<M>]) -> bool {
    goes_on(history, &mut Vec::new(), &M::initial())
}

fn goes_on<M: Model>(history: &[Operation<M>], order: &mut Vec<usize>, state: &M::State) -> bool {
    let left: Vec<_> = (0..history.len()).filter(|at| !order.contains(at)).collect();
    if left.iter().all(|at| history[*at].answered.is_none()) {
        return true;
    }
    left.iter().any(|at| {
        let is_too_late = left
            .iter()
            .filter_map(|other| history[*other].answered)
            .any(|end| end < history[*at].begun);
        if is_too_late {
            return false;
        }
        let Some(after) = history[*at].call.apply(state) else { return false };
        order.push(*at);
        let is_found = goes_on(history, order, &after);
        order.pop();
        is_found
    })
}
