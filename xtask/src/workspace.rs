//! Where things are, and how cargo is called.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("xtask lies in the workspace")
}

/// The target folder that this binary was built in.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let own = env::current_exe().context("find this program's file")?;
    let dir = own.parent().and_then(Path::parent).map(Path::to_path_buf);
    dir.with_context(|| format!("{} is in no target folder", own.display()))
}

/// A built binary.
pub(crate) fn binary(name: &str, release: bool) -> Result<PathBuf> {
    let profile = if release { "release" } else { "debug" };
    Ok(target_dir()?.join(profile).join(name))
}

/// The cargo that runs this program, in the workspace. Its rustc stays findable under `sudo`.
pub(crate) fn cargo() -> Command {
    let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = Command::new(&cargo);
    command.current_dir(root());
    if let Some(dir) = cargo.parent().filter(|dir| dir.join("rustc").exists()) {
        let path = env::var_os("PATH").unwrap_or_default();
        let dirs = [dir.to_path_buf()]
            .into_iter()
            .chain(env::split_paths(&path));
        if let Ok(joined) = env::join_paths(dirs) {
            command.env("PATH", joined);
        }
    }
    command
}
