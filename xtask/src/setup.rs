//! `cargo xtask setup`: what hafw is built with, and what its labs run.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use hafw_build::{LINKER_VERSION, Toolchain, tools_dir};
use nix::{
    mount::{MsFlags, mount},
    sys::{
        statfs::{BPF_FS_MAGIC, statfs},
        utsname::uname,
    },
};

use crate::{
    privilege::{again_with, is_root},
    step::{aloud, quietly, step},
    workspace,
};

/// The oldest kernel that hafw runs on.
const MIN_KERNEL: (u32, u32) = (6, 1);
const BPFFS: &str = "/sys/fs/bpf";

/// The compiler for eBPF on Debian. It comes with LLVM 22, so the linker is built for that.
const COMPILER: &[&str] = &["rustc-web", "rust-web-src", "cargo-web", "rust-web-clippy"];
const LLVM: &[&str] = &["llvm-22-dev"];
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// A group of things that some verbs need and others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The eBPF compiler and linker.
    Toolchain,
    /// A kernel, a bpffs, and what a lab runs.
    Lab,
    /// What the benchmarks run beside.
    Bench,
    /// A browser, which is large.
    Browser,
    /// What the fuzz targets are compiled with.
    Fuzz,
}

/// Programs, by the Debian package that has them.
const PROGRAMS: &[(&str, &str, Part)] = &[
    ("ip", "iproute2", Part::Lab),
    ("ethtool", "ethtool", Part::Lab),
    ("nft", "nftables", Part::Lab),
    ("ping", "iputils-ping", Part::Lab),
    ("arping", "arping", Part::Lab),
    ("tcpdump", "tcpdump", Part::Lab),
    ("curl", "curl", Part::Lab),
    ("bpftool", "bpftool", Part::Lab),
    ("nginx", "nginx", Part::Lab),
    ("keepalived", "keepalived", Part::Lab),
    ("/usr/lib/frr/vrrpd", "frr", Part::Lab),
    ("aiosmtpd", "python3-aiosmtpd", Part::Lab),
    (
        "/usr/lib/python3/dist-packages/prometheus_client/parser.py",
        "python3-prometheus-client",
        Part::Lab,
    ),
    ("openssl", "openssl", Part::Lab),
    ("h2load", "nghttp2-client", Part::Lab),
    ("slowhttptest", "slowhttptest", Part::Lab),
    (
        "/usr/lib/python3/dist-packages/websockets/__init__.py",
        "python3-websockets",
        Part::Lab,
    ),
    (
        "/usr/lib/python3/dist-packages/grpc/__init__.py",
        "python3-grpcio",
        Part::Lab,
    ),
    ("haproxy", "haproxy", Part::Bench),
    ("wrk", "wrk", Part::Bench),
    (
        "chromium-headless-shell",
        "chromium-headless-shell",
        Part::Browser,
    ),
    ("iperf3", "iperf3", Part::Bench),
    ("g++", "g++", Part::Fuzz),
];

/// Daemons among them: Debian starts them when they are installed, and at every boot.
const SERVICES: &[&str] = &["nginx", "keepalived", "frr", "haproxy"];

pub(crate) fn run(runner: Option<&str>) -> Result<()> {
    if let (false, Some(runner)) = (is_root(), runner) {
        return aloud(&mut again_with(runner)?);
    }
    let parts = [Part::Toolchain, Part::Lab, Part::Bench, Part::Fuzz];
    require(&parts)?;
    let toolchain = Toolchain::find()?;
    println!("kernel     {}", uname()?.release().to_string_lossy());
    println!("bpffs      {BPFFS}");
    println!("compiler   {}", toolchain.name);
    println!("linker     {}", toolchain.linker.display());
    let wanted = PROGRAMS.iter().filter(|(.., part)| parts.contains(part));
    let programs: Vec<_> = wanted.map(|(_, package, _)| *package).collect();
    println!("programs   {}", programs.join(" "));
    Ok(())
}

/// Makes sure that what these parts name is there, by installing it where that is possible.
pub(crate) fn require(parts: &[Part]) -> Result<()> {
    let missing = Missing::look(parts);
    if !missing.packages().is_empty() || missing.linker {
        missing.install()?;
    }
    if parts.contains(&Part::Lab) {
        kernel()?;
        bpffs()?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Missing {
    compiler: bool,
    linker: bool,
    programs: Vec<&'static str>,
}

impl Missing {
    fn look(parts: &[Part]) -> Self {
        let mut missing = Self::default();
        if parts.contains(&Part::Toolchain)
            && let Err(not_found) = Toolchain::find()
        {
            (missing.compiler, missing.linker) = (not_found.compiler, not_found.linker);
        }
        let wanted = PROGRAMS
            .iter()
            .filter(|(program, _, part)| parts.contains(part) && !installed(program));
        missing.programs = wanted.map(|(_, package, _)| *package).collect();
        missing
    }

    fn packages(&self) -> Vec<&'static str> {
        let mut packages = self.programs.clone();
        if self.compiler {
            packages.extend(COMPILER);
        }
        if self.linker && !Path::new(LLVM_PREFIX).join("bin/llvm-config").exists() {
            packages.extend(LLVM);
        }
        packages
    }

    fn install(&self) -> Result<()> {
        let packages = self.packages();
        let debian = Path::new("/etc/debian_version").exists();
        let possible = debian && is_root();
        if !packages.is_empty() && !possible {
            let mut text = String::new();
            if !self.programs.is_empty() {
                text += &format!("not installed: {}\n", self.programs.join(" "));
            }
            if let (true, Err(not_found)) = (self.compiler || self.linker, Toolchain::find()) {
                text += &format!("{not_found}\n");
            }
            if debian {
                text += &format!(
                    "as root, `cargo xtask setup` does this: apt-get install {}",
                    packages.join(" ")
                );
            }
            bail!("{}", text.trim_end());
        }
        if !packages.is_empty() {
            install_packages(&packages)?;
        }
        if self.linker {
            install_linker()?;
        }
        Ok(())
    }
}

fn install_packages(packages: &[&str]) -> Result<()> {
    let _no_start = NoServices::new()?;
    step("updating Debian's package lists", || {
        quietly(&mut apt(&["update"]))
    })?;
    let what = format!("installing {}", packages.join(" "));
    step(&what, || {
        let install = ["install", "--yes", "--no-install-recommends"];
        quietly(&mut apt(&[&install[..], packages].concat()))
    })
}

fn apt(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-q", "-o", "DPkg::Lock::Timeout=120"])
        .args(args);
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// While it lives, installing a daemon does not start it; afterwards, those that are new are not
/// started at boot either. hafw's labs start their own.
struct NoServices {
    policy: Option<&'static Path>,
    new: Vec<&'static str>,
}

impl NoServices {
    fn new() -> Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        let new = SERVICES
            .iter()
            .copied()
            .filter(|name| !unit(name).exists())
            .collect();
        // Somebody else's policy stays as it is.
        let policy = if path.exists() { None } else { Some(path) };
        if policy.is_some() {
            fs::write(path, "#!/bin/sh\nexit 101\n")
                .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("write {}", path.display()))?;
        }
        Ok(Self { policy, new })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = self.policy {
            let _ = fs::remove_file(path);
        }
        let enabled = self.new.iter().filter(|name| unit(name).exists());
        for name in enabled {
            let mut disable = Command::new("systemctl");
            disable.args(["--quiet", "disable", name]);
            // There may be no systemd.
            let _ = disable.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

fn unit(name: &str) -> PathBuf {
    Path::new("/lib/systemd/system").join(format!("{name}.service"))
}

fn install_linker() -> Result<()> {
    let dir =
        tools_dir().context("no home directory to install bpf-linker into; set HAFW_TOOLS")?;
    let mut cargo = workspace::cargo();
    cargo.args([
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
    ]);
    cargo
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(dir);
    cargo.env("LLVM_PREFIX", LLVM_PREFIX);
    step(&format!("building bpf-linker {LINKER_VERSION}"), || {
        quietly(&mut cargo)
    })
}

fn installed(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    // A user's PATH may lack the folders of what root runs.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .any(|dir| dir.join(program).exists())
}

fn kernel() -> Result<()> {
    let release = uname()?.release().to_string_lossy().into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < MIN_KERNEL {
        bail!(
            "Linux {release} is too old: hafw needs {}.{}",
            MIN_KERNEL.0,
            MIN_KERNEL.1
        );
    }
    Ok(())
}

fn bpffs() -> Result<()> {
    if statfs(BPFFS).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(());
    }
    if !is_root() {
        bail!("no bpffs on {BPFFS}; mount it as root: mount -t bpf bpf {BPFFS}");
    }
    mount(
        Some("bpf"),
        BPFFS,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("mount a bpffs on {BPFFS}"))
}
