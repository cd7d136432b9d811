//! Formats on the wire. `parse` takes bytes from anywhere; `emit` writes every byte.

mod advert;
mod announce;
mod checksum;
mod frame;
mod frame_v6;
mod neighbour;

pub use advert::{Advertisement, ParseError};
pub use announce::{GRATUITOUS_ARP_LEN, gratuitous_arp};
pub use frame::{FrameError, advert_datagram, advert_frame, parse_frame};
pub use frame_v6::{advert_datagram_v6, advert_frame_v6};
pub use neighbour::{NEIGHBOUR_ADVERT_LEN, neighbour_advert};
