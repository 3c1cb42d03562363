//! What goes wrong.

/// One thing that goes wrong while a message is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL for the backend that commits: its server restarts all others.
    KillCoordinatorBackend,
    /// SIGKILL for every process of node 1.
    KillCoordinator,
    /// SIGKILL for every process of the participant.
    KillParticipant,
    /// Both.
    KillBoth,
    /// The message is lost and its connection is closed.
    CutConnection,
    /// The participant's processes stop for a while.
    PauseParticipant,
    /// Those of node 1.
    PauseCoordinator,
}

impl Fault {
    /// All of them.
    pub const ALL: &[Fault] = &[
        Fault::KillCoordinatorBackend,
        Fault::KillCoordinator,
        Fault::KillParticipant,
        Fault::KillBoth,
        Fault::CutConnection,
        Fault::PauseParticipant,
        Fault::PauseCoordinator,
    ];
}
