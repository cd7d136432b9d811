//! Real programs as hosts of the lab.

mod capture;
mod crowd_echo;
mod echo;
mod frr;
mod hafw;
mod keepalived;
mod lesson;
mod nginx;
mod router;
mod slow;

pub use capture::Capture;
pub use crowd_echo::CrowdEcho;
pub(crate) use echo::MESSAGE;
pub use echo::{ECHO_PORT, Echo};
pub use frr::Frr;
pub use hafw::{
    BackendState, Hafw, InterfaceState, NodeState, RouterState, ServiceState, Traced, hafw_config,
};
pub use keepalived::{Keepalived, keepalived_config};
pub use lesson::{lesson_sites, lesson_www};
pub use nginx::{LessonProxy, SERVICE_PORT, WebServer, nginx};
pub use router::{Router, Timing};
pub use slow::{Slow, SlowPage};
