//! One running node: what is started in which order, what it does while it runs, and how it ends.

mod adopt;
mod alerts;
mod blocks;
mod checks;
mod clients;
mod cluster;
mod detach;
mod drain;
mod drains;
mod exchange;
mod flows;
mod handover;
mod hops;
mod interfaces;
mod lookout;
mod mirror;
mod ports;
mod programs_log;
mod reload;
mod restart;
mod routers;
mod run;
mod service_manager;
mod services;
mod start;
mod status;
mod stop;
mod system;
mod trace;
pub(crate) mod tracking;

pub use detach::detach;
pub use run::run;
