//! The datapath: the only code that knows aya and names a BPF map.
//!
//! [`Datapath::open`] loads or adopts; what it returns is taken apart, because its parts have
//! different owners: the VRRP thread has the lease table and the event ring, the node's task has
//! the tables and the counters.

mod attach;
mod block_table;
mod counters;
mod decap;
mod events;
mod flow_table;
mod guard_table;
mod jiffies;
mod lease_table;
mod load;
mod nat_tables;
mod object;
mod pins;
mod tables;
mod unresolved;

pub use attach::{AttachError, Attached, XdpMode, remove_filters};
pub use block_table::BlockTable;
pub use counters::Counters;
pub use decap::{Decap, DecapError, DecapSettings};
pub use events::{EventRing, Record};
pub use flow_table::{FlowLister, FlowState, FlowTable};
pub use guard_table::{GuardSpec, Prefix, SourceLimit};
pub use jiffies::Jiffies;
pub use lease_table::{LeaseTable, SERVE_BEYOND_ATTRACT};
pub use load::{Datapath, Found, InterfaceSpec, OpenError};
pub use nat_tables::NatTables;
pub use pins::{PinDir, PinError};
pub use tables::{PeerTable, RouterEntry, TableError, Tables};
pub use unresolved::{Unresolved, UnresolvedRing};
