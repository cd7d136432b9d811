//! `cargo xtask test`: the levels of tests, and one summary.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use hafw_lab::{interrupted, sweep};

use crate::{build, privilege::is_root, setup, setup::Part, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which tests
    #[arg(value_enum, default_value_t = Level::All)]
    level: Level,
    /// With a real browser among the clients of `conformance`, which is 300 MB to install
    #[arg(long)]
    browser: bool,
    /// Passed on to the test programs, for instance part of a test's name
    #[arg(last = true)]
    rest: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// What needs neither root nor a network
    Unit,
    /// The XDP program through BPF_PROG_TEST_RUN
    Bpf,
    /// Whole nodes in network namespaces, with real peers
    Netns,
    /// The proxy with clients and servers that others wrote, and beside nginx
    Conformance,
    /// All of them
    All,
}

impl Level {
    const EACH: [Self; 4] = [Self::Unit, Self::Bpf, Self::Netns, Self::Conformance];

    const fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Bpf => "bpf",
            Self::Netns => "netns",
            Self::Conformance => "conformance",
            Self::All => "all",
        }
    }

    const fn privileged(self) -> bool {
        !matches!(self, Self::Unit)
    }

    /// The arguments of each call of `cargo test`.
    const fn calls(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Unit => &[&[], &["--package", "hafw-ebpf", "--lib"]],
            Self::Bpf => &[&["--package", "hafw-tests", "--test", "datapath"]],
            Self::Netns => &[
                &["--package", "hafw-lab", "--test", "lab"],
                &["--package", "hafw-tests", "--test", "netns"],
            ],
            Self::Conformance => &[&["--package", "hafw-l7", "--test", "proxy"]],
            Self::All => &[],
        }
    }
}

/// What a level's tests came to.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// A test failed, or a test program did not build, or crashed.
    broken: bool,
    /// Names of the tests that failed.
    names: Vec<String>,
    took: Duration,
}

pub(crate) fn run(args: &Args, runner: Option<&str>) -> Result<()> {
    let levels: Vec<_> = Level::EACH
        .into_iter()
        .filter(|level| args.level == Level::All || args.level == *level)
        .collect();
    let privileged = levels.iter().any(|level| level.privileged());
    if privileged && !is_root() && runner.is_none() {
        bail!("the bpf and netns tests need root; try `--runner \"sudo -E\"`");
    }
    setup::require(if privileged {
        &[Part::Toolchain, Part::Lab]
    } else {
        &[Part::Toolchain]
    })?;
    if privileged {
        build::binaries(false)?;
    }
    if args.browser {
        setup::require(&[Part::Browser])?;
    }
    let mut tallies = Vec::new();
    for level in levels {
        let mut rest = args.rest.clone();
        if level == Level::Conformance && !args.browser {
            rest.extend(["--skip", "a_browser_"].map(str::to_owned));
        }
        tallies.push((level, test(level, &rest, runner)?));
        if interrupted() {
            break;
        }
    }
    // What a test program left that was killed.
    if privileged && is_root() {
        sweep()?;
    }
    if interrupted() {
        bail!("interrupted");
    }
    summarise(&tallies)
}

fn summarise(tallies: &[(Level, Tally)]) -> Result<()> {
    println!();
    for (level, tally) in tallies {
        let Tally {
            passed,
            failed,
            ignored,
            broken,
            took,
            names,
        } = tally;
        let seconds = took.as_secs_f64();
        let verdict = if *broken { "FAILED" } else { "ok" };
        println!(
            "{:11} {verdict:6} {passed:5} passed {failed:4} failed {ignored:4} ignored {seconds:7.1} s",
            level.name()
        );
        for name in names {
            println!("            {name}");
        }
    }
    let failed = tallies.iter().any(|(_, tally)| tally.broken);
    if failed {
        bail!("tests failed");
    }
    // A run that tests nothing has proved nothing.
    if tallies.iter().all(|(_, tally)| tally.passed == 0) {
        bail!("no test ran");
    }
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(|(_, t)| count(t)).sum::<u64>();
    println!("{} passed, {} failed", sum(|t| t.passed), sum(|t| t.failed));
    Ok(())
}

fn test(level: Level, rest: &[String], runner: Option<&str>) -> Result<Tally> {
    let start = Instant::now();
    let mut tally = Tally::default();
    for call in level.calls() {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--no-fail-fast"]).args(*call);
        cargo.arg("--target-dir").arg(workspace::target_dir()?);
        if level.privileged() {
            if let (false, Some(runner)) = (is_root(), runner) {
                cargo.env(runner_key()?, runner);
            }
            cargo.args(["--", "--ignored"]);
        } else if !rest.is_empty() {
            cargo.arg("--");
        }
        cargo.args(rest);
        follow(&mut cargo, &mut tally)?;
        if interrupted() {
            break;
        }
    }
    tally.took = start.elapsed();
    Ok(tally)
}

/// Shows what a call of `cargo test` prints, and counts.
fn follow(cargo: &mut Command, tally: &mut Tally) -> Result<()> {
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("read what cargo prints")?;
        println!("{line}");
        // "test probe::tests::a_law ... FAILED"
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            tally.names.push(name.to_owned());
        }
        // "test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; …"
        if let Some((_, counts)) = line.split_once("test result: ") {
            let counts = counts.split_once(". ").map_or("", |(_, counts)| counts);
            for part in counts.split("; ") {
                match part.split_once(' ') {
                    Some((number, "passed")) => tally.passed += number.parse().unwrap_or(0),
                    Some((number, "failed")) => tally.failed += number.parse().unwrap_or(0),
                    Some((number, "ignored")) => tally.ignored += number.parse().unwrap_or(0),
                    _ => {}
                }
            }
        }
    }
    let status = child.wait().context("wait for cargo")?;
    tally.broken |= !status.success();
    Ok(())
}

/// The variable that makes cargo start a test program through something else.
fn runner_key() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say what its host is")?;
    Ok(format!(
        "CARGO_TARGET_{}_RUNNER",
        host.replace(['-', '.'], "_").to_uppercase()
    ))
}
