//! The servers of a cluster as one worker sees them: whose turn it is, which are out, and the idle
//! connections to them. Pure: `now` is a parameter, and a connection is whatever the caller keeps.

mod balance;
mod group;
mod idle;

pub use balance::hash_of;
pub use group::{Asker, Group, MAX_SERVERS, Outcome, Tried};
pub use idle::IdlePool;
