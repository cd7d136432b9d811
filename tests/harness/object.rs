//! The eBPF objects under test.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use hafw_build::{BuildError, Toolchain, build, build_feeder};

/// The object with the programs: the one that `HAFW_EBPF_OBJECT` names, or a fresh build.
///
/// # Panics
/// There is none, with what is missing.
#[must_use]
pub fn programs() -> Vec<u8> {
    read(&env::var_os("HAFW_EBPF_OBJECT").map_or_else(|| built(build), PathBuf::from))
}

/// The object with the program that feeds others, to time them: a fresh build.
///
/// # Panics
/// It cannot be built, with what is missing.
#[must_use]
pub fn feeder() -> Vec<u8> {
    read(&built(build_feeder))
}

fn built(build: fn(&Toolchain, &Path, &Path) -> Result<PathBuf, BuildError>) -> PathBuf {
    let toolchain = Toolchain::find().unwrap_or_else(|missing| panic!("{missing}"));
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().expect("the package lies in the workspace");
    // The folder that hafw-user's build script uses, so that the objects are compiled once.
    build(&toolchain, workspace, &workspace.join("target/ebpf"))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}
