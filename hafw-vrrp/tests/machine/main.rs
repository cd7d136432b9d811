//! The state machine and the engine, event by event.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod any_input;
mod delays;
mod engine;
mod groups;
mod receiving;
mod routers;
mod sending;
mod succession;
mod transitions;
mod world;
