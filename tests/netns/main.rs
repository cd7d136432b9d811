//! Whole nodes in network namespaces, beside real peers. Each needs root and takes seconds;
//! `cargo xtask test netns` runs them.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod adverts;
mod alerts;
mod download;
mod enforce;
mod failover;
mod frr;
mod groups;
mod handoff;
mod handover;
mod health;
mod identity;
mod import;
mod import_keepalived;
mod interfaces;
mod interop;
mod ipv6;
mod lease;
mod lesson;
mod load;
mod mail;
mod many;
mod metrics;
mod moves;
mod nat;
mod next_upstream;
mod pair;
mod realtime;
mod refusals;
mod reload;
mod service_manager;
mod split_brain;
mod spread;
mod succession;
mod tracking;
mod unicast;
