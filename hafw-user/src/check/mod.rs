//! `hafw check`: what is wrong with a configuration, and what a right one comes to.

mod effect;
mod summary;
#[cfg(test)]
mod tests;
mod verdict;

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, bail};
use hafw_config::{Problem, Problems, Warning};

use crate::{
    command::{InvalidCommand, UserCommand},
    config::{self, CheckKind, Config, SystemFacts, against_system, remarks},
};

pub use effect::{CheckEffect, Effect, effect};
pub use verdict::verdicts;

/// Checks a file on its own, against this machine, and against the other node's file. Returns what
/// it comes to, for a person to read.
///
/// # Errors
/// Every mistake, one a line.
pub fn check(file: &Path, peer: Option<&Path>) -> anyhow::Result<String> {
    let facts = SystemFacts::gather().context("cannot list the interfaces")?;
    let config = config::load(file);
    let peer = peer.map(|path| (path, config::load(path)));
    let mut mistakes = Vec::new();
    let mut warnings = Vec::new();
    match &config {
        Ok(config) => {
            warnings = config.warnings.clone();
            warnings.extend(remarks(config, &facts));
            mistakes.extend(against_system(config, &facts).err());
            mistakes.extend(commands(config, &mut warnings).err());
        }
        Err(problems) => mistakes.push(problems.clone()),
    }
    if let Some((_, Err(problems))) = &peer {
        mistakes.push(problems.clone());
    }
    let (Ok(config), []) = (config, mistakes.as_slice()) else {
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        bail!(lines.join("\n"));
    };
    warnings.sort();
    let peer = peer
        .as_ref()
        .and_then(|(path, peer)| Some((*path, peer.as_ref().ok()?)));
    Ok(summary::summary(file, &config, &warnings, peer))
}

/// Whether the checks' commands can be run here, by whom they are to run.
fn commands(config: &Config, warnings: &mut Vec<Warning>) -> Result<(), Problems> {
    let mut problems = Vec::new();
    for check in &config.checks {
        let CheckKind::Command { command, user } = &check.kind else {
            continue;
        };
        let (name, place) = (&check.name.value, &check.name.place);
        match UserCommand::new(command, user) {
            // Whether the node may change users is not known: it need not run as whoever checks.
            Ok(_) | Err(InvalidCommand::NotRoot(_)) => {}
            Err(error) => problems.push(Problem::at(place, format!("check {name:?}: {error}"))),
        }
        let Some(program) = command.first() else {
            continue;
        };
        let runs = std::fs::metadata(program)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
        if !runs {
            let message = format!("check {name:?}: {program} is no program here: the check fails");
            warnings.push(Warning {
                place: place.clone(),
                message,
            });
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Problems::sorted(problems))
    }
}
