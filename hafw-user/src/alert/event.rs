//! What is told.

use std::time::SystemTime;

use hafw_vrrp::StateKind;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A virtual router.
    Router,
    /// A `[[check]]`.
    Check,
    /// A backend of a service.
    Backend,
    /// Evidence of a split brain.
    SplitBrain,
}

impl Kind {
    /// All of them, with what the configuration calls them.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("router", Self::Router),
        ("check", Self::Check),
        ("backend", Self::Backend),
        ("split_brain", Self::SplitBrain),
    ];

    /// As in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Check => "check",
            Self::Backend => "backend",
            Self::SplitBrain => "split_brain",
        }
    }

    /// A hook's first argument: keepalived's for routers.
    #[must_use]
    pub const fn hook_word(self) -> &'static str {
        match self {
            Self::Router => "INSTANCE",
            Self::Check => "CHECK",
            Self::Backend => "BACKEND",
            Self::SplitBrain => "SPLIT_BRAIN",
        }
    }
}

/// To what it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A router has its VIPs.
    Active,
    /// It stands by.
    Backup,
    /// It cannot have them.
    Fault,
    /// It takes no part: the node stops.
    Stopped,
    /// A check or a backend is well.
    Up,
    /// It is not.
    Down,
    /// Evidence is there.
    Found,
    /// It is no longer.
    Cleared,
}

impl State {
    /// In hafw's words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Backup => "backup",
            Self::Fault => "fault",
            Self::Stopped => "stopped",
            Self::Up => "up",
            Self::Down => "down",
            Self::Found => "found",
            Self::Cleared => "cleared",
        }
    }

    /// A hook's third argument: keepalived's for routers.
    #[must_use]
    pub const fn hook_word(self) -> &'static str {
        match self {
            Self::Active => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stopped => "STOP",
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Found => "FOUND",
            Self::Cleared => "CLEARED",
        }
    }
}

impl From<StateKind> for State {
    fn from(state: StateKind) -> Self {
        match state {
            StateKind::Initialize => Self::Stopped,
            StateKind::Fault => Self::Fault,
            StateKind::Backup => Self::Backup,
            StateKind::Active => Self::Active,
        }
    }
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of what.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// To what.
    pub state: State,
    /// A router's effective priority; 0 of anything else.
    pub priority: u8,
    /// Why.
    pub reason: String,
    /// When.
    pub at: SystemTime,
}
