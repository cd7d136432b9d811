//! Links, neighbours and routes as they change.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes; these few are of interest"
)]

use std::net::IpAddr;

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_core::NetlinkPayload,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        link::{LinkAttribute, LinkFlags, LinkMessage},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    },
};
use thiserror::Error;

/// A change, or the state at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// An interface is there.
    Link {
        /// Kernel index.
        ifindex: u32,
        /// Administratively up, and the carrier is there.
        up: bool,
        /// Its MAC, where it has one of six bytes.
        mac: Option<[u8; 6]>,
    },
    /// An interface is gone.
    LinkGone {
        /// Kernel index.
        ifindex: u32,
    },
    /// A neighbour's MAC is known.
    Neighbour {
        /// Kernel index of the interface.
        ifindex: u32,
        /// Its address.
        address: IpAddr,
        /// Its MAC.
        mac: [u8; 6],
    },
    /// A neighbour's MAC is not known any more.
    NeighbourGone {
        /// Kernel index of the interface.
        ifindex: u32,
        /// Its address.
        address: IpAddr,
    },
    /// Some address, route or rule is another.
    Routes,
    /// Messages were lost: what is known may be old.
    Lost,
}

/// Netlink could not be used.
#[derive(Debug, Error)]
pub enum WatchError {
    /// No socket.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[from] std::io::Error),
    /// The kernel would not list something.
    #[error("cannot list {what}: {source}")]
    List {
        /// What.
        what: &'static str,
        /// Why.
        source: rtnetlink::Error,
    },
}

/// A netlink connection that hears of changes.
pub struct Watch {
    handle: Handle,
    messages: BoxStream<'static, NetEvent>,
}

impl Watch {
    /// Opens the connection; its driving task runs on the current tokio runtime.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn open() -> Result<Self, WatchError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv6Rule,
        ];
        let (connection, handle, messages) = new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        let messages = messages
            .filter_map(|(message, _)| async move {
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => translate(message),
                    NetlinkPayload::Overrun(_) => Some(NetEvent::Lost),
                    _ => None,
                }
            })
            .boxed();
        Ok(Self { handle, messages })
    }

    /// For requests over the same connection.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The links and neighbours as they are.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub async fn snapshot(&self) -> Result<Vec<NetEvent>, WatchError> {
        let failed = |what| move |source| WatchError::List { what, source };
        let links: Vec<_> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(failed("links"))?;
        let neighbours: Vec<_> = self
            .handle
            .neighbours()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(failed("neighbours"))?;
        let links = links.iter().map(link);
        Ok(links
            .chain(neighbours.iter().filter_map(neighbour))
            .collect())
    }

    /// The next change. None once the connection is closed.
    pub async fn next(&mut self) -> Option<NetEvent> {
        self.messages.next().await
    }
}

fn translate(message: RouteNetlinkMessage) -> Option<NetEvent> {
    match message {
        // A bridge speaks of its ports by the same messages in a family of its own: a port that
        // leaves the bridge is still an interface.
        RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message)
            if message.header.interface_family == AddressFamily::Bridge =>
        {
            None
        }
        RouteNetlinkMessage::NewLink(message) => Some(link(&message)),
        RouteNetlinkMessage::DelLink(message) => Some(NetEvent::LinkGone {
            ifindex: message.header.index,
        }),
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(&message),
        RouteNetlinkMessage::DelNeighbour(message) => gone(&message),
        RouteNetlinkMessage::NewAddress(_)
        | RouteNetlinkMessage::DelAddress(_)
        | RouteNetlinkMessage::NewRoute(_)
        | RouteNetlinkMessage::DelRoute(_)
        | RouteNetlinkMessage::NewRule(_)
        | RouteNetlinkMessage::DelRule(_) => Some(NetEvent::Routes),
        _ => None,
    }
}

fn link(message: &LinkMessage) -> NetEvent {
    let mac = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        });
    NetEvent::Link {
        ifindex: message.header.index,
        up: is_up(message),
        mac,
    }
}

/// Whether an interface is administratively up, and its carrier is there.
#[must_use]
pub fn is_up(message: &LinkMessage) -> bool {
    let wanted = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
    message.header.flags.contains(wanted)
}

fn neighbour(message: &NeighbourMessage) -> Option<NetEvent> {
    let unknown = [NeighbourState::Incomplete, NeighbourState::Failed];
    if unknown.contains(&message.header.state) {
        return gone(message);
    }
    let mac = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        });
    Some(NetEvent::Neighbour {
        ifindex: message.header.ifindex,
        address: address(message)?,
        mac: mac?,
    })
}

fn gone(message: &NeighbourMessage) -> Option<NetEvent> {
    Some(NetEvent::NeighbourGone {
        ifindex: message.header.ifindex,
        address: address(message)?,
    })
}

fn address(message: &NeighbourMessage) -> Option<IpAddr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => Some(IpAddr::V6(*a)),
            _ => None,
        })
}
