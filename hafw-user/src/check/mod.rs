//! `hafw check`: what is wrong with a configuration, and what a right one comes to.

mod effect;
mod summary;
#[cfg(test)]
mod tests;
mod verdict;

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, bail};
use hafw_config::{Located, Place, Problem, Problems, Warning};

use crate::{
    command::{InvalidCommand, UserCommand},
    config::{self, Alerting, CheckKind, Config, SystemFacts, against_system, remarks},
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

/// Whether the commands of checks and alerts can be run here, by whom they are to run.
fn commands(config: &Config, warnings: &mut Vec<Warning>) -> Result<(), Problems> {
    let mut problems = Vec::new();
    let mut judge = |place: &Place, what: String, command: &[String], user: &str| {
        match UserCommand::new(command, user) {
            // Whether the node may change users is not known: it need not run as whoever checks.
            Ok(_) | Err(InvalidCommand::NotRoot(_)) => {}
            Err(error) => problems.push(Problem::at(place, format!("{what}: {error}"))),
        }
        let Some(program) = command.first() else {
            return;
        };
        let runs = std::fs::metadata(program)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
        if !runs {
            let message = format!("{what}: {program} is no program here: it fails");
            warnings.push(Warning {
                place: place.clone(),
                message,
            });
        }
    };
    for check in &config.checks {
        if let CheckKind::Command { command, user } = &check.kind {
            let what = format!("check {:?}", check.name.value);
            judge(&check.name.place, what, command, user);
        }
    }
    if let Some(Alerting {
        exec: Some(hook), ..
    }) = &config.alerts
    {
        let Located {
            value: (command, user),
            place,
        } = hook;
        judge(place, "alerts: exec".to_owned(), command, user);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Problems::sorted(problems))
    }
}
