//! The controller of a hafw node: reads its configuration, runs VRRP, fills the maps, probes,
//! supervises the proxy and answers on the control socket.

pub mod alert;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod command;
pub mod config;
pub mod control;
pub mod datapath;
mod decap;
mod handover;
mod import;
mod live;
pub mod metrics;
pub mod net;
pub mod node;
pub mod probe;
pub mod split_brain;
pub mod sys;
pub mod vrrp;
