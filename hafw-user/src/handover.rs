//! `hafw handover`: asks the node, and waits until the router has moved.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::control::{Answer, HandoverAnswer, Request, RouterStatus, ask};

const LOOK: Duration = Duration::from_millis(20);

/// Hands a router over, or ends that, and says what came of it.
///
/// # Errors
/// The node refuses, or nobody took the router.
pub(crate) fn handover(socket: &Path, router: &str, end: bool) -> anyhow::Result<String> {
    let before = status(socket, router)?;
    let request = Request::Handover {
        router: router.to_owned(),
        end,
    };
    let Answer::Handover(HandoverAnswer { takes_ms }) = ask(socket, &request)? else {
        return unexpected();
    };
    if end {
        return Ok(format!(
            "{router}: it claims its VIPs by its priority again, within {takes_ms} ms if that is the \
             highest"
        ));
    }
    if before.state != "active" {
        return Ok(format!(
            "{router} is not active here: it will claim its VIPs only when no peer has them"
        ));
    }
    let deadline = Instant::now() + Duration::from_millis(takes_ms);
    while Instant::now() < deadline {
        let now = status(socket, router)?;
        if now.state != "active" {
            let by = now.active.map_or_else(String::new, |peer| {
                format!(" by {}, priority {}", peer.address, peer.priority)
            });
            return Ok(format!("{router}: taken over{by}"));
        }
        thread::sleep(LOOK);
    }
    bail!(
        "{router}: nobody took it over within {takes_ms} ms: there is no peer, or none that preempts. \
         It stays here until one does; `hafw handover {router} --end` ends that"
    )
}

/// An answer to something else: a node of another version.
///
/// # Errors
/// Always.
pub(crate) fn unexpected<T>() -> anyhow::Result<T> {
    bail!("the node answered something else")
}

fn status(socket: &Path, router: &str) -> anyhow::Result<RouterStatus> {
    let Answer::Status(status) = ask(socket, &Request::Status)? else {
        return unexpected();
    };
    let found = status
        .routers
        .into_iter()
        .find(|found| found.name == router);
    found.with_context(|| format!("the node has no router {router:?}"))
}
