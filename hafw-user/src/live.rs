//! `hafw watch` and `hafw top`: a running node, looked at again and again over its control socket.
//! Nothing of it costs the node more than that many `hafw status`.

mod changes;
mod table;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    control::{Answer, ClientError, Request, Status, ask},
    handover::unexpected,
};

/// Prints what changes, a line each, until whoever reads stops; with `drops`, also how many frames
/// were dropped for which reason since the last look.
///
/// # Errors
/// No node answers at the start.
pub(crate) fn watch(socket: &Path, interval: Duration, drops: bool) -> anyhow::Result<()> {
    let mut last = status(socket)?;
    let mut silent = false;
    loop {
        thread::sleep(interval);
        let lines = match status(socket) {
            Ok(now) => {
                let mut lines = changes::changes(&last, &now);
                if silent {
                    lines.insert(0, "the node answers again".to_owned());
                }
                if drops {
                    lines.extend(changes::drops(&last, &now));
                }
                (last, silent) = (now, false);
                lines
            }
            Err(_) if silent => Vec::new(),
            Err(error) => {
                silent = true;
                vec![format!("{error:#}")]
            }
        };
        let time = time_of_day(SystemTime::now());
        let mut out = io::stdout().lock();
        for line in lines {
            if writeln!(out, "{time} {line}").is_err() {
                return Ok(());
            }
        }
        // Whoever reads through a pipe wants each line at once.
        if out.flush().is_err() {
            return Ok(());
        }
    }
}

/// Prints a table of routers, services and drops, with rates since the last one, `count` times or
/// until whoever reads stops.
///
/// # Errors
/// No node answers.
pub(crate) fn top(socket: &Path, interval: Duration, count: Option<u32>) -> anyhow::Result<()> {
    let mut last = (status(socket)?, Instant::now());
    let mut shown = 0;
    while count.is_none_or(|count| shown < count) {
        thread::sleep(interval);
        let now = (status(socket)?, Instant::now());
        let text = table::table(&last.0, &now.0, now.1 - last.1);
        let mut out = io::stdout().lock();
        // Home, then what was there before is cleared.
        let clear = if out.is_terminal() {
            "\x1b[H\x1b[2J"
        } else {
            ""
        };
        if writeln!(out, "{clear}{text}")
            .and_then(|()| out.flush())
            .is_err()
        {
            return Ok(());
        }
        last = now;
        shown += 1;
    }
    Ok(())
}

fn status(socket: &Path) -> anyhow::Result<Status> {
    let answer: Result<Answer, ClientError> = ask(socket, &Request::Status);
    let Answer::Status(status) = answer? else {
        return unexpected();
    };
    Ok(*status)
}

/// UTC, as `HH:MM:SS.mmmZ`.
fn time_of_day(now: SystemTime) -> String {
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (seconds, ms) = (since.as_secs() % 86_400, since.subsec_millis());
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{ms:03}Z", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_utc() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_126_968_045);
        assert_eq!(time_of_day(at), "03:16:08.045Z");
    }
}
