//! The eBPF objects under test.

use std::{env, fs, path::PathBuf};

use hafw_build::{OBJECT_NAME, Toolchain, build};

/// The object with the programs: the one that `HAFW_EBPF_OBJECT` names, or a fresh build.
///
/// # Panics
/// There is none, with what is missing.
#[must_use]
pub fn programs() -> Vec<u8> {
    let path = env::var_os("HAFW_EBPF_OBJECT").map_or_else(|| built(OBJECT_NAME), PathBuf::from);
    fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn built(name: &str) -> PathBuf {
    let toolchain = Toolchain::find().unwrap_or_else(|missing| panic!("{missing}"));
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the workspace")
        .to_path_buf();
    // The folder that hafw-user's build script uses, so that the objects are compiled once.
    let object = build(&toolchain, &workspace, &workspace.join("target/ebpf"))
        .unwrap_or_else(|error| panic!("cannot build {name}: {error}"));
    object.with_file_name(name)
}
