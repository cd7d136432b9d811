//! `cargo xtask sim`: the VRRP simulation over many seeds.

mod mutants;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

const TEST: &str = "whatever_goes_wrong_the_invariants_hold";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds, from the first; the same ones each time
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// One seed alone, with all that happens in it
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// How many processes share the seeds
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Show that it finds the defects of which the list names one like this, or all
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["seed", "jobs"])]
    mutants: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(named) = &args.mutants {
        return mutants::run(args.seeds, named);
    }
    let binary = build(&mut workspace::cargo())?;
    if let Some(seed) = args.seed {
        let status = simulation(&binary)
            .env("HAFW_SIM_SEED", seed.to_string())
            .status()?;
        return if status.success() {
            Ok(())
        } else {
            bail!("seed {seed} fails")
        };
    }
    let shards = args.jobs.max(1);
    let begin = Instant::now();
    let mut children = (0..shards)
        .map(|shard| start(&binary, args.seeds, shard, shards))
        .collect::<Result<Vec<_>>>()?;
    let mut met = BTreeMap::new();
    let mut failed = false;
    for child in &mut children {
        failed |= !finish(child, &mut met)?;
    }
    let took = begin.elapsed();
    if failed {
        bail!("the simulation found a defect; `cargo xtask sim --seed` plays one seed again");
    }
    println!(
        "{} seeds passed in {:.0} s, {:.0} a second in {shards} processes",
        args.seeds,
        took.as_secs_f64(),
        args.seeds as f64 / took.as_secs_f64()
    );
    for (what, times) in met {
        println!("  {what:<20} {times}");
    }
    Ok(())
}

/// Builds the simulation with optimisation and returns the program.
fn build(cargo: &mut Command) -> Result<PathBuf> {
    let mut cargo = cargo
        .args([
            "test",
            "--release",
            "--package",
            "hafw-vrrp",
            "--test",
            "sim",
        ])
        .args(["--no-run", "--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo")?;
    let output = cargo.stdout.take().context("cargo has no output")?;
    let mut program = None;
    for line in BufReader::new(output).lines() {
        let message: serde_json::Value = serde_json::from_str(&line?)?;
        if let Some(path) = message["executable"].as_str() {
            program = Some(PathBuf::from(path));
        }
    }
    if !cargo.wait()?.success() {
        bail!("the simulation does not build");
    }
    program.context("cargo built no simulation")
}

fn simulation(binary: &PathBuf) -> Command {
    let mut command = Command::new(binary);
    command.args(["--exact", TEST, "--nocapture"]);
    command
}

fn start(binary: &PathBuf, seeds: u64, shard: usize, shards: usize) -> Result<Child> {
    simulation(binary)
        .env("HAFW_SIM_SEEDS", seeds.to_string())
        .env("HAFW_SIM_SHARD", format!("{shard}/{shards}"))
        .stdout(Stdio::piped())
        .spawn()
        .context("start the simulation")
}

/// Waits for a shard and adds what it met. False if it failed, which it then says.
fn finish(child: &mut Child, met: &mut BTreeMap<String, u64>) -> Result<bool> {
    let mut text = String::new();
    if let Some(output) = &mut child.stdout {
        output.read_to_string(&mut text)?;
    }
    if !child.wait()?.success() {
        println!("{text}");
        return Ok(false);
    }
    for line in text.lines() {
        if let Some((what, times)) = line.strip_prefix("met ").and_then(|l| l.split_once(": ")) {
            *met.entry(what.to_owned()).or_default() += times.parse::<u64>()?;
        }
    }
    Ok(true)
}
