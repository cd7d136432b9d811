//! A hook command, called as keepalived calls `notify` (keepalived.conf(5)): TYPE NAME STATE
//! PRIORITY behind its own arguments.

use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, warn};

use super::Event;
use crate::command::{UserCommand, ending};

/// A hook that runs longer is killed with its children: others wait for it.
const LIMIT: Duration = Duration::from_secs(30);

/// Whether it ended well. What went wrong is logged.
pub(super) async fn run(command: &UserCommand, event: &Event) -> bool {
    let priority = event.priority.to_string();
    let arguments = [
        event.kind.hook_word(),
        &event.name,
        event.state.hook_word(),
        &priority,
    ];
    let program = command.program();
    let failed = match command.start(&arguments) {
        Err(error) => error.to_string(),
        Ok(mut running) => match timeout(LIMIT, running.wait()).await {
            Ok(Ok(status)) if status.success() => {
                debug!(program, ?arguments, "hook");
                return true;
            }
            Ok(Ok(status)) => format!("{}: {}", ending(status), running.said()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("killed after {LIMIT:?}: {}", running.said()),
        },
    };
    warn!(program, ?arguments, failed, "hook");
    false
}
