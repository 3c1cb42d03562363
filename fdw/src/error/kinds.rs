//! What can go wrong between a callback and the other server.

use super::{Refusal, RemoteError};

/// A failure on its way to the border.
#[derive(Clone, Debug)]
pub enum Error {
    /// Refused here, before anything was sent.
    Refused(Box<Refusal>),
    /// The remote server answered with an error.
    Remote {
        /// Node or server name.
        node: String,
        /// What was run there.
        command: String,
        /// What it answered.
        error: Box<RemoteError>,
    },
    /// No session could be opened.
    CouldNotConnect {
        /// Node or server name.
        node: String,
        /// Why, without any secret.
        reason: String,
        /// What the server answered, if it got that far.
        error: Option<Box<RemoteError>>,
    },
    /// An established session is gone.
    ConnectionLost {
        /// Node or server name.
        node: String,
        /// What ended it.
        reason: String,
    },
    /// The one participant's COMMIT was sent and its answer never came.
    OutcomeUnknown {
        /// Node or server name.
        node: String,
        /// What ended the wait.
        reason: String,
    },
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(Box::new(refusal))
    }
}
