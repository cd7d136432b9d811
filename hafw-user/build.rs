//! Builds the eBPF object, which `datapath::object` embeds.

use std::{env, fs, path::PathBuf};

use hafw_build::{SOURCES, Toolchain, build};

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
    // Shared by debug and release builds: the object is the same.
    let object = match build(&toolchain, &workspace, &workspace.join("target/ebpf")) {
        Ok(object) => object,
        Err(error) => {
            println!("cargo::error={error}");
            return;
        }
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("hafw-xdp");
    if let Err(error) = fs::copy(&object, &out) {
        println!("cargo::error=cannot copy {}: {error}", object.display());
    }
}
