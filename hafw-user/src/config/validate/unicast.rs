//! Peers that adverts go to by unicast.

use std::{collections::BTreeMap, net::IpAddr};

use hafw_common::router::MAX_UNICAST_PEERS;

use super::Judge;

impl Judge<'_> {
    pub(super) fn unicast_peers(&self) {
        for router in &self.draft.routers {
            let first = router.vips.first().map(|vip| vip.value.address);
            let (mut near, mut far) = (false, false);
            let count = router.unicast_peers.len();
            if count > MAX_UNICAST_PEERS {
                let message = format!("{count} unicast_peers: {MAX_UNICAST_PEERS} at most");
                self.of_router(router, &router.name.place, message);
            }
            let mut seen = BTreeMap::new();
            for peer in &router.unicast_peers {
                let address = peer.value;
                if let Some(first) = seen.insert(address, &peer.place) {
                    let message = format!("unicast_peers: {address} is one already, at {first}");
                    self.of_router(router, &peer.place, message);
                } else if first.is_some_and(|vip| vip.is_ipv6() != address.is_ipv6()) {
                    let family = if address.is_ipv4() { "IPv6" } else { "IPv4" };
                    let message = format!(
                        "unicast_peers: {address}: its VIPs are {family}: expected peers' addresses \
                         of that family"
                    );
                    self.of_router(router, &peer.place, message);
                } else if self.is_vip(address) {
                    let message = format!(
                        "unicast_peers: {address} is a VIP: expected the peer's own address"
                    );
                    self.of_router(router, &peer.place, message);
                } else if let IpAddr::V6(address) = address {
                    let on_link = address.is_unicast_link_local();
                    (near, far) = (near || on_link, far || !on_link);
                    if near && far {
                        let message = format!(
                            "unicast_peers: {address}: adverts leave from one address: expected \
                             link-local peers only, or none"
                        );
                        self.of_router(router, &peer.place, message);
                    }
                }
            }
        }
    }
}
