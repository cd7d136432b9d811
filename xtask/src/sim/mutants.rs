//! `cargo xtask sim --mutants`: shows that the simulation can fail. Each of the defects in
//! `hafw-vrrp/tests/sim/mutants.txt` is put into a copy of the code, and must be found.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{TEST, build};
use crate::workspace;

const LIST: &str = "hafw-vrrp/tests/sim/mutants.txt";
/// What the simulation is built of.
const CRATES: [&str; 2] = ["hafw-common", "hafw-vrrp"];

/// One defect.
#[derive(Debug)]
struct Mutant<'a> {
    name: &'a str,
    changes: Vec<Change<'a>>,
}

#[derive(Debug)]
struct Change<'a> {
    file: &'a str,
    from: String,
    to: String,
}

/// Runs `seeds` with each defect whose name contains `named`, until one seed fails.
pub(super) fn run(seeds: u64, named: &str) -> Result<()> {
    let list = fs::read_to_string(workspace::root().join(LIST)).context(LIST)?;
    let mutants = parse(&list)?;
    let copy = Copy::make()?;
    let mut survivors = Vec::new();
    let chosen = mutants.iter().filter(|mutant| mutant.name.contains(named));
    for mutant in chosen {
        copy.reset()?;
        for change in &mutant.changes {
            copy.apply(change)
                .with_context(|| format!("the defect {:?}", mutant.name))?;
        }
        let begin = Instant::now();
        let found = copy.simulate(seeds)?;
        let took = begin.elapsed().as_secs_f64();
        match found {
            Some(found) => println!("found  {:<60} {took:>5.1} s  {found}", mutant.name),
            None => {
                println!("MISSED {:<60} {took:>5.1} s", mutant.name);
                survivors.push(mutant.name);
            }
        }
    }
    ensure!(
        survivors.is_empty(),
        "{seeds} seeds do not find {survivors:?}"
    );
    Ok(())
}

/// A copy of what the simulation is built of, as a workspace of its own.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn make() -> Result<Self> {
        let copy = Self {
            root: workspace::target_dir()?.join("mutants"),
        };
        fs::create_dir_all(&copy.root)?;
        let manifest = fs::read_to_string(workspace::root().join("Cargo.toml"))?;
        fs::write(copy.root.join("Cargo.toml"), alone(&manifest))?;
        fs::copy(
            workspace::root().join("Cargo.lock"),
            copy.root.join("Cargo.lock"),
        )?;
        for name in CRATES {
            copy_folder(&workspace::root().join(name), &copy.root.join(name))?;
        }
        Ok(copy)
    }

    /// Undoes what [`Self::apply`] did.
    fn reset(&self) -> Result<()> {
        for name in CRATES {
            let sources = Path::new(name).join("src");
            copy_folder(&workspace::root().join(&sources), &self.root.join(&sources))?;
        }
        Ok(())
    }

    fn apply(&self, change: &Change<'_>) -> Result<()> {
        let file = self.root.join(change.file);
        let text = fs::read_to_string(&file).with_context(|| change.file.to_owned())?;
        fs::write(file, change.carried_out(&text)?)?;
        Ok(())
    }

    /// Each defect is built anew and soon found: the build is what counts.
    fn build(&self) -> Result<PathBuf> {
        let mut cargo = workspace::cargo();
        let quick = cargo
            .env("CARGO_TARGET_DIR", self.root.join("target"))
            .envs([
                ("CARGO_PROFILE_RELEASE_LTO", "off"),
                ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
                ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
                ("CARGO_TERM_QUIET", "true"),
            ]);
        build(quick.current_dir(&self.root))
    }

    /// What the first seed that fails says, if one does.
    fn simulate(&self, seeds: u64) -> Result<Option<String>> {
        let program = self.build()?;
        let output = Command::new(program)
            .args(["--exact", TEST, "--nocapture"])
            .env("HAFW_SIM_SEEDS", seeds.to_string())
            .env("HAFW_SIM_FIRST", "1")
            .output()?;
        if output.status.success() {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let says = |line: &&str| line.contains("HAFW_SIM_SEED=") || line.contains("never happened");
        let line = said.lines().find(says).map(str::trim);
        Ok(Some(
            line.unwrap_or("it does not come to an end").to_owned(),
        ))
    }
}

/// The manifest of a workspace without the crates that are not copied.
fn alone(manifest: &str) -> String {
    let member = |line: &str| line.trim_start().starts_with('"');
    let copied = |line: &str| {
        CRATES
            .iter()
            .any(|name| line.contains(&format!("\"{name}\"")))
    };
    let kept = manifest
        .lines()
        .filter(|line| !member(line) || copied(line));
    kept.map(|line| format!("{line}\n")).collect()
}

/// Copies files that differ, so that cargo builds anew only what has changed.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &copy)?;
        } else {
            let content = fs::read(&source)?;
            if fs::read(&copy).ok().as_ref() != Some(&content) {
                fs::write(copy, content)?;
            }
        }
    }
    Ok(())
}

impl Change<'_> {
    /// # Errors
    /// What is to be changed does not stand there once.
    fn carried_out(&self, text: &str) -> Result<String> {
        match text.matches(&self.from).count() {
            1 => Ok(text.replacen(&self.from, &self.to, 1)),
            times => bail!(
                "{} has {times} times, and not once:\n{}",
                self.file,
                self.from
            ),
        }
    }
}

fn parse(list: &str) -> Result<Vec<Mutant<'_>>> {
    let mut mutants = Vec::new();
    for text in list.split("\n== ").skip(1) {
        let (name, changes) = text
            .split_once("\n-- ")
            .context("a defect changes nothing")?;
        let change = |text| parse_change(text).with_context(|| format!("the defect {name:?}"));
        mutants.push(Mutant {
            name,
            changes: changes.split("\n-- ").map(change).collect::<Result<_>>()?,
        });
    }
    Ok(mutants)
}

fn parse_change(text: &str) -> Result<Change<'_>> {
    let (file, rest) = text.split_once('\n').context("only a file")?;
    let (from, to) = rest.split_once("\n++").context("no ++")?;
    let lines = |text: &str| format!("{}\n", text.trim_matches('\n'));
    Ok(Change {
        file,
        from: lines(from),
        to: if to.trim().is_empty() {
            String::new()
        } else {
            lines(to)
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_has_its_place_in_the_code() {
        let list = fs::read_to_string(workspace::root().join(LIST)).unwrap();
        let mutants = parse(&list).unwrap();
        assert!(mutants.len() > 30, "{}", mutants.len());
        for mutant in mutants {
            for change in mutant.changes {
                let text = fs::read_to_string(workspace::root().join(change.file)).unwrap();
                let changed = change.carried_out(&text);
                let changed = changed.unwrap_or_else(|error| panic!("{}: {error}", mutant.name));
                assert_ne!(changed, text, "{}", mutant.name);
            }
        }
    }

    #[test]
    fn the_copys_workspace_has_its_crates_alone() {
        let manifest = "[workspace]\nmembers = [\n    \"hafw-lb\",\n    \"hafw-vrrp\",\n]\n\n[x]\nhafw-lb = 1\n";
        let wanted = "[workspace]\nmembers = [\n    \"hafw-vrrp\",\n]\n\n[x]\nhafw-lb = 1\n";
        assert_eq!(alone(manifest), wanted);
    }
}
