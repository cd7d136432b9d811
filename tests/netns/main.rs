//! Whole nodes in network namespaces, beside real peers. Each needs root and takes seconds;
//! `cargo xtask test netns` runs them.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod adverts;
mod download;
mod alerts;
mod failover;
mod groups;
mod handoff;
mod handover;
mod import;
mod interop;
mod lesson;
mod load;
mod nat;
mod next_upstream;
mod pair;
mod refusals;
mod spread;
mod tracking;
