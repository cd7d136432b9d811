//! Steps that take a while: what is done, for how long already, and what went wrong.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Lines of a failed program's output that are shown.
const TAIL: usize = 40;

/// Does something and shows its name and how long it takes: in place on a terminal, else a line
/// now and then.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let terminal = stderr().is_terminal();
    if !terminal {
        eprintln!("{what} ...");
    }
    let (done, ticks) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let every = Duration::from_secs(if terminal { 1 } else { 20 });
            loop {
                let seconds = start.elapsed().as_secs();
                if terminal {
                    eprint!("\r\x1b[K{what} ... {seconds} s");
                    let _ = stderr().flush();
                } else if seconds > 0 {
                    eprintln!("{what} ... {seconds} s so far");
                }
                if ticks.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        });
        let outcome = work();
        drop(done);
        outcome
    })
    .inspect(|_| {
        let back = if terminal { "\r\x1b[K" } else { "" };
        eprintln!("{back}{what}: {:.1} s", start.elapsed().as_secs_f64());
    })
    .inspect_err(|_| eprintln!("{}{what}: failed", if terminal { "\r\x1b[K" } else { "" }))
}

/// Runs a program without showing its output, unless it fails.
pub(crate) fn quietly(command: &mut Command) -> Result<()> {
    let line = line(command);
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start `{line}`"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    bail!("`{line}` failed ({}):\n{tail}", output.status)
}

/// Runs cargo, which shows its own progress on a terminal.
pub(crate) fn cargo_step(what: &str, command: &mut Command) -> Result<()> {
    if stderr().is_terminal() {
        eprintln!("{what}");
        return aloud(command);
    }
    step(what, || quietly(command))
}

/// Runs a program with its output on ours.
pub(crate) fn aloud(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if status.success() {
        Ok(())
    } else {
        bail!("`{line}` failed ({status})")
    }
}

fn line(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let args = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned());
    std::iter::once(program)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}
