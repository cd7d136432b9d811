//! A command whose exit status decides.

use super::{Limit, Report};
use crate::command::{UserCommand, ending};

pub(super) async fn run(command: &UserCommand, limit: Limit) -> Report {
    let program = command.program();
    let mut running = match command.start(&[]) {
        Ok(running) => running,
        Err(error) => return Report::bad(format!("cannot run {program}: {error}")),
    };
    let waited = limit.wait("end of the command", running.wait()).await;
    let mut report = match waited {
        Ok(Ok(status)) if status.success() => return Report::ok(ending(status)),
        Ok(Ok(status)) => Report::bad(ending(status)),
        Ok(Err(error)) => Report::bad(format!("cannot wait for {program}: {error}")),
        Err(report) => report,
    };
    let said = running.said();
    if !said.is_empty() {
        report.reason = format!("{}: {said}", report.reason);
    }
    report
}
