//! Finds an eBPF toolchain and builds the XDP object with it.
//!
//! `hafw-user`'s build script and `cargo xtask` both come here, so that there is one answer to
//! "which compiler builds the eBPF crate". The host toolchain cannot: it has neither the sources
//! of `core` nor, on stable, `-Z build-std`.
#![forbid(unsafe_code)]

mod object;
mod toolchain;

pub use object::{
    BuildError, DECAP_NAME, FEEDER_NAME, OBJECT_NAME, SOURCES, TARGET, build, build_decap,
    build_feeder, clippy,
};
pub use toolchain::{LINKER_VERSION, NotFound, Toolchain, tools_dir};
