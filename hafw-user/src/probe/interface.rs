//! The state of a network interface: keepalived's `track_interface`.

use std::{fmt, sync::Arc};

use futures_util::TryStreamExt as _;
use rtnetlink::Handle;
use tokio::sync::Notify;

use super::{Limit, Report};
use crate::net::is_up;

/// An interface, and how to ask for it. Two are equal if they ask for the same.
#[derive(Clone)]
pub struct InterfaceProbe {
    name: String,
    handle: Handle,
    stir: Arc<Notify>,
}

impl InterfaceProbe {
    /// `stir`: its waiters are told whenever any link changes.
    #[must_use]
    pub fn new(name: String, handle: Handle, stir: Arc<Notify>) -> Self {
        Self { name, handle, stir }
    }

    pub(super) async fn run(&self, limit: Limit) -> Report {
        let mut answers = self
            .handle
            .link()
            .get()
            .match_name(self.name.clone())
            .execute();
        match limit.wait("answer of the kernel", answers.try_next()).await {
            Err(report) => report,
            Ok(Ok(Some(link))) if is_up(&link) => Report::ok("up"),
            Ok(Ok(Some(_))) => Report::bad("down, or without a carrier"),
            Ok(Ok(None)) => Report::bad("there is no such interface"),
            Ok(Err(error)) => Report::bad(format!("the kernel says: {error}")),
        }
    }

    /// Waits for a link to change. A change while a look is under way may be missed until the next.
    pub(super) async fn stirred(&self) {
        self.stir.notified().await;
    }
}

impl fmt::Debug for InterfaceProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InterfaceProbe").field(&self.name).finish()
    }
}

impl PartialEq for InterfaceProbe {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for InterfaceProbe {}
