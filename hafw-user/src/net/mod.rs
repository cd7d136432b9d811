//! The kernel's network configuration: what this node puts there for its VIPs, and what it
//! watches.

mod fib;
mod next_hop;
mod routes;
mod sysctls;
mod watch;

pub use fib::{Prefix, Way, routes};
pub use next_hop::{NextHop, NextHopError, forget_unanswered, resolve, solicit};
pub use routes::{RouteError, Routes};
pub use sysctls::{SysctlError, Sysctls};
pub use watch::{NetEvent, Watch, WatchError, is_up};
