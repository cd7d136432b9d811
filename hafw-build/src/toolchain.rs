//! Which compiler and linker there are.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// The `bpf-linker` that `cargo xtask setup` installs.
pub const LINKER_VERSION: &str = "0.13.0";

/// A compiler that can build `core` for the BPF target, and a linker for its bitcode.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// What to show a person.
    pub name: String,
    /// `cargo` of that toolchain.
    pub cargo: PathBuf,
    /// `rustc` of that toolchain.
    pub rustc: PathBuf,
    /// `bpf-linker`.
    pub linker: PathBuf,
}

/// No toolchain: what was looked at, and what to do.
#[derive(Debug)]
pub struct NotFound {
    /// There is no compiler with the sources of `core`.
    pub compiler: bool,
    /// There is no `bpf-linker`.
    pub linker: bool,
}

impl Toolchain {
    /// Looks for a distribution's compiler that has the sources beside it (Debian: `rustc-web` and
    /// `rust-web-src`), then for a rustup nightly with `rust-src`.
    ///
    /// # Errors
    /// [`NotFound`], whose text says what to install.
    pub fn find() -> Result<Self, NotFound> {
        // Where both are, the linker that `cargo xtask setup` built knows the distribution's LLVM,
        // and may be too old for what a nightly emits.
        let compiler = distribution().or_else(rustup_nightly);
        let linker = linker();
        match (compiler, linker) {
            (Some((name, cargo, rustc)), Some(linker)) => Ok(Self {
                name,
                cargo,
                rustc,
                linker,
            }),
            (compiler, linker) => Err(NotFound {
                compiler: compiler.is_none(),
                linker: linker.is_none(),
            }),
        }
    }

    /// `cargo` of this toolchain, with the caller's own toolchain taken out of the environment.
    pub(crate) fn cargo_command(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        for (key, _) in env::vars_os() {
            let name = key.to_string_lossy();
            let ours = name.starts_with("CARGO_") && name != "CARGO_HOME";
            if ours
                || name.starts_with("RUSTC")
                || name.starts_with("RUSTFLAGS")
                || name == "RUSTUP_TOOLCHAIN"
            {
                command.env_remove(&key);
            }
        }
        let path = env::var_os("PATH").unwrap_or_default();
        // `cargo clippy` finds its driver in PATH: it has to be this compiler's.
        let own = [&self.linker, &self.cargo]
            .into_iter()
            .filter_map(|file| file.parent());
        let dirs = own.map(Path::to_path_buf).chain(env::split_paths(&path));
        if let Ok(joined) = env::join_paths(dirs) {
            command.env("PATH", joined);
        }
        // A distribution's compiler is a stable one: build-std needs this. Harmless on nightly.
        command
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1");
        command
    }
}

/// Where `cargo xtask setup` puts `bpf-linker`: it outlives a clean of the target folder.
#[must_use]
pub fn tools_dir() -> Option<PathBuf> {
    if let Some(dir) = env::var_os("HAFW_TOOLS") {
        return Some(PathBuf::from(dir));
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))?;
    Some(cache.join("hafw/tools"))
}

fn rustup_nightly() -> Option<(String, PathBuf, PathBuf)> {
    let output = Command::new("rustup")
        .args(["which", "--toolchain", "nightly", "rustc"])
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let rustc = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let cargo = rustc.with_file_name("cargo");
    (has_sources(&rustc) && cargo.exists()).then(|| ("rustup's nightly".into(), cargo, rustc))
}

fn distribution() -> Option<(String, PathBuf, PathBuf)> {
    let (cargo, rustc) = (
        PathBuf::from("/usr/bin/cargo"),
        PathBuf::from("/usr/bin/rustc"),
    );
    if !(cargo.exists() && rustc.exists() && has_sources(&rustc)) {
        return None;
    }
    let output = Command::new(&rustc).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    let minor: u32 = version
        .split_whitespace()
        .nth(1)?
        .split('.')
        .nth(1)?
        .parse()
        .ok()?;
    // The workspace's edition and aya-ebpf's minimum; Debian's own rustc of bookworm is 1.63.
    (minor >= 87).then(|| {
        (
            format!("the distribution's {}", version.trim()),
            cargo,
            rustc,
        )
    })
}

fn has_sources(rustc: &Path) -> bool {
    Command::new(rustc)
        .args(["--print", "sysroot"])
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .is_some_and(|root| {
            Path::new(root.trim())
                .join("lib/rustlib/src/rust/library/core/Cargo.toml")
                .exists()
        })
}

fn linker() -> Option<PathBuf> {
    let ours = tools_dir().map(|dir| dir.join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    ours.into_iter()
        .chain(env::split_paths(&path))
        .chain(env::home_dir().map(|home| home.join(".cargo/bin")))
        .map(|dir| dir.join("bpf-linker"))
        .find(|file| file.exists())
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no eBPF toolchain:")?;
        if self.compiler {
            writeln!(
                f,
                "  no compiler with the sources of `core`: looked for /usr/bin/rustc \
                 (1.87 or newer) with its sources and for rustup's nightly with rust-src"
            )?;
        }
        if self.linker {
            writeln!(
                f,
                "  no bpf-linker in PATH or in {}",
                tools_dir().unwrap_or_default().display()
            )?;
        }
        write!(
            f,
            "run `cargo xtask setup` as root on Debian, or install them by hand:\n  \
             rustup toolchain install nightly --component rust-src\n  \
             cargo install bpf-linker --version {LINKER_VERSION}"
        )
    }
}

impl std::error::Error for NotFound {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_only_what_is_missing() {
        let text = NotFound {
            compiler: false,
            linker: true,
        }
        .to_string();
        assert!(
            text.contains("no bpf-linker") && !text.contains("no compiler"),
            "{text}"
        );
        assert!(text.contains("cargo xtask setup"), "{text}");
    }
}
