//! Which backend serves which slot, and in what order the maps are brought there.
//!
//! Pure: no IO, no clock, no randomness. [`Balancer`] holds the services as they should be and as
//! the maps have them; every change gives an ordered list of [`MapOp`]s, which whoever owns the
//! maps carries out one by one. [`Health`] turns the outcomes of probes into the states that the
//! balancer is fed with.
#![forbid(unsafe_code)]

mod adopt;
mod alloc;
mod balancer;
mod configure;
mod exchange;
mod explain;
mod health;
mod identity;
mod maglev;
mod moves;
mod plan;
mod service;

pub use adopt::{Found, FoundService};
pub use balancer::{Balancer, Capacity, Change};
pub use configure::ConfigureError;
pub use exchange::{FollowError, PlannedBackend, ServicePlan};
pub use explain::{Explanation, Flow, Why};
pub use health::{Cause, Health, Outcome, State};
pub use identity::backend_key;
pub use maglev::{Weighted, build, diff};
pub use moves::{Evidence, FLOW_CLOSED, FLOW_IDLE, FlowVerdict, Sweep};
pub use plan::MapOp;
pub use service::{BackendSpec, BackendStatus, Hop, ServiceSpec, ServiceStatus, service_name};
