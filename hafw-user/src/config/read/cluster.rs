//! `[cluster]`.

use std::collections::BTreeMap;

use hafw_config::{Located, Section};

use super::{name, socket};
use crate::{
    cluster::{ClusterSpec, Key, PeerSpec},
    config::model::Node,
};

pub(super) fn cluster(section: &Section, node: Option<&Node>) -> Option<ClusterSpec> {
    let listen = section.need("listen", socket(section, "listen"));
    let key = section
        .need("key", section.secret("key"))
        .and_then(|secret| {
            let key = Key::parse(secret.value.reveal());
            if key.is_none() {
                let file = secret.value.file();
                let from = file.map(|file| format!(" in {}", file.display()));
                let from = from.unwrap_or_default();
                section.note(
                    &secret.place,
                    format!("key: expected 64 hexadecimal digits{from}; `hafw key` makes one"),
                );
            }
            key
        });
    let peers = section.tables("peers", "peers");
    if peers.is_empty() && !section.has("peers") {
        section.note(section.place(), "peers is missing");
    }
    section.need_items("peers", "peer");
    let mut taken = BTreeMap::new();
    let peers = peers.iter().filter_map(|table| {
        let peer = peer(table)?;
        if node.is_some_and(|node| node.id == peer.id) {
            table.wrong("id", "this is the node itself");
        }
        for key in [
            ("id", peer.id.clone()),
            ("address", peer.address.to_string()),
        ] {
            let place = table.place_of(key.0);
            if let Some(first) = taken.insert(key.clone(), place) {
                table.wrong(key.0, &format!("another peer has it, at {first}"));
            }
        }
        Some(peer)
    });
    let peers = peers.collect();
    section.finish();
    Some(ClusterSpec {
        listen: listen?.value,
        key: key?,
        peers,
    })
}

fn peer(table: &Section) -> Option<PeerSpec> {
    let id = table.need("id", table.parsed("id", "a name", name));
    let address: Option<Located<_>> = table.need("address", socket(table, "address"));
    table.finish();
    Some(PeerSpec {
        id: id?.value,
        address: address?.value,
    })
}
