//! Waiting for a condition, with a deadline and an error that says what was waited for.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{LabError, interrupted};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds and returns how long that took.
///
/// # Errors
/// [`LabError::Timeout`] after `deadline`, [`LabError::Interrupted`] on Ctrl-C.
pub fn wait_for(
    deadline: Duration,
    what: impl Into<String>,
    mut condition: impl FnMut() -> bool,
) -> Result<Duration, LabError> {
    let start = Instant::now();
    wait_until(deadline, what, || {
        if condition() {
            Ok(())
        } else {
            Err(String::new())
        }
    })?;
    Ok(start.elapsed())
}

/// Waits until `attempt` yields a value. Its last error is part of the timeout's text.
///
/// # Errors
/// As [`wait_for`].
pub fn wait_until<T>(
    deadline: Duration,
    what: impl Into<String>,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> Result<T, LabError> {
    let start = Instant::now();
    loop {
        let last = match attempt() {
            Ok(value) => return Ok(value),
            Err(last) => last,
        };
        if interrupted() {
            return Err(LabError::Interrupted);
        }
        if start.elapsed() >= deadline {
            let detail = if last.is_empty() {
                last
            } else {
                format!("; instead: {last}")
            };
            return Err(LabError::Timeout {
                what: what.into(),
                waited: deadline,
                detail,
            });
        }
        thread::sleep(POLL);
    }
}

/// Lets time pass, for what is measured over a span of it.
///
/// # Errors
/// [`LabError::Interrupted`] on Ctrl-C.
pub fn pause(span: Duration) -> Result<(), LabError> {
    let end = Instant::now() + span;
    loop {
        if interrupted() {
            return Err(LabError::Interrupted);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(20)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_names_what_was_waited_for_and_what_was_seen() {
        let error = wait_until(Duration::ZERO, "lb01 to be active", || {
            Err::<(), _>("it is backup".into())
        })
        .unwrap_err();

        let text = error.to_string();
        assert!(
            text.contains("lb01 to be active; instead: it is backup"),
            "{text}"
        );
    }

    #[test]
    fn a_condition_that_holds_is_not_waited_for() {
        let mut asked = 0;
        wait_for(Duration::ZERO, "nothing", || {
            asked += 1;
            true
        })
        .unwrap();

        assert_eq!(asked, 1);
    }
}
