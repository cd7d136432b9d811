//! Peers that adverts go to by unicast.

use std::collections::BTreeMap;

use hafw_common::router::MAX_UNICAST_PEERS;

use super::Judge;

impl Judge<'_> {
    pub(super) fn unicast_peers(&self) {
        for router in &self.draft.routers {
            let ipv6 = router
                .vips
                .first()
                .is_some_and(|vip| vip.value.address.is_ipv6());
            if ipv6 && router.virtual_mac {
                let message = "virtual_mac = true over IPv6: not in this version".to_owned();
                self.of_router(router, &router.name.place, message);
            }
            if let Some(peer) = router.unicast_peers.first().filter(|_| ipv6) {
                let message = "unicast_peers of an IPv6 router: not in this version".to_owned();
                self.of_router(router, &peer.place, message);
            }
            if router.virtual_mac && !router.unicast_peers.is_empty() {
                let message =
                    "virtual_mac = true with unicast_peers: not in this version: adverts \
                               by unicast leave from the interface's own MAC, and a switch learns \
                               the virtual one from adverts"
                        .to_owned();
                self.of_router(router, &router.name.place, message);
            }
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
                } else if self.is_vip(address.into()) {
                    let message = format!(
                        "unicast_peers: {address} is a VIP: expected the peer's own address"
                    );
                    self.of_router(router, &peer.place, message);
                }
            }
        }
    }
}
