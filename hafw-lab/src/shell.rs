//! Running the system's tools and reporting their failures.

use std::{
    io,
    process::{Command, Output},
};

use crate::LabError;

/// Runs a program to its end and returns what it printed. Its failure is an error.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String, LabError> {
    let mut command = Command::new(program);
    command.args(args);
    let output = command.output();
    check(&command, output)
}

/// Turns the outcome of a command into what it printed, or an error that names it.
pub(crate) fn check(command: &Command, output: io::Result<Output>) -> Result<String, LabError> {
    let output = output.map_err(|source| start_error(command, source))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Command {
        command: line(command),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Why a command could not be started.
pub(crate) fn start_error(command: &Command, source: io::Error) -> LabError {
    if source.kind() == io::ErrorKind::NotFound {
        return LabError::Missing {
            program: command.get_program().to_string_lossy().into_owned(),
        };
    }
    LabError::Io {
        what: format!("start `{}`", line(command)),
        source,
    }
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
