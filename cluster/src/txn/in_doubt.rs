//! Participants whose coordinator does not come back to them.
//!
//! COMMIT answers its client when all participants have committed, or after
//! [`SECOND_PHASE_TIMEOUT`] with recovery in charge. So a participant that was
//! prepared for less than [`IN_DOUBT_AFTER`] belongs to a client that has not been
//! answered, and readers may pass over its rows. An older one may have been
//! committed for all the world: who reads what it has locked waits for it, and
//! fails after [`IN_DOUBT_WAIT`] rather than miss its rows.

use std::time::Duration;

/// How long COMMIT waits for the acknowledgements of the second phase.
pub const SECOND_PHASE_TIMEOUT: Duration = Duration::from_secs(10);

/// The age at which a prepared participant is in doubt. Less than the timeout:
/// the participant's clock began earlier than the coordinator's, and looks are
/// not taken at every moment.
pub const IN_DOUBT_AFTER: Duration = Duration::from_secs(5);

/// How long a reader waits for one in doubt.
pub const IN_DOUBT_WAIT: Duration = Duration::from_secs(5);

/// After how long to look at the prepared participants of this node again, given
/// the age of the oldest; `None` if one of them is in doubt now. Nothing that is
/// prepared meanwhile can be in doubt by then.
pub fn next_look(oldest: Option<Duration>) -> Option<Duration> {
    match oldest {
        None => Some(IN_DOUBT_AFTER),
        Some(age) => IN_DOUBT_AFTER.checked_sub(age).filter(|left| !left.is_zero()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_is_answered_before_readers_wait() {
        assert!(IN_DOUBT_AFTER < SECOND_PHASE_TIMEOUT);
    }

    #[test]
    fn the_next_look_comes_when_the_oldest_may_be_in_doubt() {
        let seconds = Duration::from_secs;
        assert_eq!(next_look(None), Some(IN_DOUBT_AFTER));
        assert_eq!(next_look(Some(seconds(2))), Some(IN_DOUBT_AFTER - seconds(2)));
        assert_eq!(next_look(Some(IN_DOUBT_AFTER)), None);
        assert_eq!(next_look(Some(seconds(3600))), None);
    }
}
