//! `cargo xtask lint`: format, lints, documentation, and the house rules that no tool knows.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use hafw_build::Toolchain;

use crate::{setup, step::aloud, workspace};

/// The longest that a source file may be.
const MAX_LINES: usize = 600;
/// Crates without IO, and what they may therefore not depend on.
const PURE: [&str; 3] = ["hafw-vrrp", "hafw-lb", "hafw-import"];
const IMPURE: [&str; 4] = ["aya", "tokio", "socket2", "rustix"];

type Check = fn() -> Result<()>;

pub(crate) fn run() -> Result<()> {
    setup::require(&[setup::Part::Toolchain, setup::Part::Fuzz])?;
    let checks: [(&str, Check); 7] = [
        ("format", format),
        ("clippy, host", clippy_host),
        ("clippy, eBPF", clippy_ebpf),
        ("fuzz targets", fuzz_targets),
        ("documentation", documentation),
        ("pure crates", pure_crates),
        ("source files", source_files),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        eprintln!("-- {name}");
        if let Err(error) = check() {
            eprintln!("{error:#}");
            failed.push(name);
        }
        if hafw_lab::interrupted() {
            bail!("interrupted");
        }
    }
    if failed.is_empty() {
        println!("lint: all {} checks passed", checks.len());
        return Ok(());
    }
    bail!("lint failed: {}", failed.join("; "))
}

fn format() -> Result<()> {
    aloud(workspace::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy_host() -> Result<()> {
    let deny = ["--", "--deny", "warnings"];
    let rest = [
        "clippy",
        "--workspace",
        "--exclude",
        "hafw-ebpf",
        "--all-targets",
    ];
    aloud(workspace::cargo().args(rest).args(deny))?;
    // Its binary only links for the BPF target; its library is for the host too.
    let library = ["clippy", "--package", "hafw-ebpf", "--lib", "--tests"];
    aloud(workspace::cargo().args(library).args(deny))
}

fn clippy_ebpf() -> Result<()> {
    let target = workspace::root().join("target/ebpf-lint");
    hafw_build::clippy(&Toolchain::find()?, workspace::root(), &target)?;
    Ok(())
}

/// They are no part of the workspace, so that nothing else notices when they rot.
fn fuzz_targets() -> Result<()> {
    let manifest = workspace::root().join("fuzz/Cargo.toml");
    let target = workspace::root().join("target/fuzz-lint");
    let mut cargo = workspace::cargo();
    cargo.args(["clippy", "--all-targets", "--manifest-path"]);
    cargo.arg(manifest).arg("--target-dir").arg(target);
    aloud(cargo.args(["--", "--deny", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["doc", "--workspace", "--exclude", "hafw-ebpf", "--no-deps"]);
    cargo.args(["--document-private-items"]);
    // Private items are documented too, so that links to them lead somewhere.
    aloud(cargo.env(
        "RUSTDOCFLAGS",
        "--deny warnings --allow rustdoc::private_intra_doc_links",
    ))
}

fn pure_crates() -> Result<()> {
    for krate in PURE {
        let mut cargo = workspace::cargo();
        cargo.args([
            "tree",
            "--package",
            krate,
            "--edges",
            "normal",
            "--prefix",
            "none",
        ]);
        let output = cargo.output().context("cannot start cargo")?;
        if !output.status.success() {
            bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        }
        let tree = String::from_utf8_lossy(&output.stdout);
        let names = tree
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        if let Some(found) = names.into_iter().find(|name| IMPURE.contains(name)) {
            bail!("{krate} depends on {found}, but does no IO");
        }
    }
    Ok(())
}

fn source_files() -> Result<()> {
    let mut sources = Vec::new();
    collect(workspace::root(), &mut sources).context("list the source files")?;
    let mut found = Vec::new();
    for path in sources {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let shown = path.strip_prefix(workspace::root()).unwrap_or(&path);
        let lines = text.lines().count();
        if lines > MAX_LINES {
            found.push(format!(
                "{}: {lines} lines, at most {MAX_LINES}",
                shown.display()
            ));
        }
        // A call of a BPF helper on the host is a segmentation fault.
        let library = shown.starts_with("hafw-ebpf/src") && !shown.starts_with("hafw-ebpf/src/bin");
        if library && text.contains("aya_") {
            found.push(format!("{}: aya belongs into the binary", shown.display()));
        }
    }
    if found.is_empty() {
        Ok(())
    } else {
        bail!("{}", found.join("\n"))
    }
}

fn collect(dir: &Path, sources: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, sources)?;
            }
        } else if name.ends_with(".rs") {
            sources.push(path);
        }
    }
    Ok(())
}
