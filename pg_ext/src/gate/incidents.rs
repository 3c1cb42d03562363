//! Second phases that a backend left unfinished: no snapshot of the cluster is
//! taken until recovery has carried them out.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::memory::gate;

/// A participant of a committed transaction of this node did not acknowledge.
/// Called before the gate is left. Raises nothing.
pub fn note_incident() -> u64 {
    gate().map_or(0, |gate| gate.incident.fetch_add(1, SeqCst) + 1)
}

/// The number of the last one.
pub fn last_incident() -> u64 {
    gate().map_or(0, |gate| gate.incident.load(SeqCst))
}

/// Recovery has finished everything up to this incident.
pub fn settle(incident: u64) {
    if let Some(gate) = gate()
        && gate.settled.fetch_max(incident, SeqCst) < incident
    {
        gate.broadcast();
    }
}

/// Waits until recovery has finished what was left at an incident, or the
/// deadline; true if it has. For COMMIT callbacks too, where interrupts are held
/// off.
pub fn await_settlement(incident: u64, deadline: Instant) -> bool {
    let Some(gate) = gate() else { return true };
    gate.wait_until(deadline, Duration::from_secs(1), || gate.settled.load(SeqCst) >= incident)
}
