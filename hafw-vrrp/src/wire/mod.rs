//! Formats on the wire. `parse` takes bytes from anywhere; `emit` writes every byte.

mod advert;
mod announce;
mod checksum;
mod frame;

pub use advert::{Advertisement, ParseError};
pub use announce::{GRATUITOUS_ARP_LEN, gratuitous_arp};
pub use frame::{FrameError, advert_frame, parse_frame};
