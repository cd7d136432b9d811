//! Builds the eBPF objects, which `datapath` embeds.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use hafw_build::{BuildError, DECAP_NAME, OBJECT_NAME, SOURCES, Toolchain, build, build_decap};

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = manifest
        .parent()
        .expect("the crate lies in the workspace")
        .to_path_buf();
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    println!("cargo::rerun-if-env-changed=HAFW_TOOLS");

    let toolchain = match Toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(not_found) => {
            for line in not_found.to_string().lines() {
                println!("cargo::error={line}");
            }
            return;
        }
    };
    // Shared by debug and release builds: the objects are the same.
    let target = workspace.join("target/ebpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let objects = [(build as Build, OBJECT_NAME), (build_decap, DECAP_NAME)];
    for (build, name) in objects {
        let object = match build(&toolchain, &workspace, &target) {
            Ok(object) => object,
            Err(error) => {
                println!("cargo::error={error}");
                return;
            }
        };
        if let Err(error) = fs::copy(&object, out.join(name)) {
            println!("cargo::error=cannot copy {}: {error}", object.display());
        }
    }
}

type Build = fn(&Toolchain, &Path, &Path) -> Result<PathBuf, BuildError>;
