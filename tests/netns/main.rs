//! Whole nodes in network namespaces, beside real peers. Each needs root and takes seconds;
//! `cargo xtask test netns` runs them.

mod failover;
mod interop;
mod lesson;
mod refusals;
