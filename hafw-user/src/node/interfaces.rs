//! What becomes of the routers when an interface goes, comes back, or has other addresses.

use std::net::IpAddr;

use anyhow::Context as _;

use super::{ports::Change, routers, run::Node};
use crate::config::SystemFacts;

impl Node {
    /// Tells tracking which routers' interfaces cannot be used, and why.
    pub(super) fn set_links(&mut self) {
        for (index, router) in self.config.routers.iter().enumerate() {
            let port = self.ports.named(&router.interface.value);
            let trouble = port.and_then(|port| port.trouble(&self.links));
            let lacks_source = || {
                let source = self.sources.get(index).copied().flatten();
                source.is_none().then(|| {
                    let kind = router.source_kind();
                    format!(
                        "its interface has no {kind} address of its own, for adverts to leave from"
                    )
                })
            };
            let too_long = || router.exceeds(port?.mtu?);
            let trouble = trouble.or_else(lacks_source).or_else(too_long);
            self.tracking.set_link(index, trouble);
        }
    }

    /// Takes the devices that the interfaces are now, and the addresses that they have.
    pub(super) fn follow_interfaces(&mut self) -> anyhow::Result<()> {
        let facts = SystemFacts::gather().context("cannot list the interfaces")?;
        let Some(parts) = &self.parts else {
            return Ok(());
        };
        for Change { slot, wire } in self.ports.follow(&facts, &mut self.tables, &parts.pins) {
            if wire.is_none() {
                // Nobody may be Active on it by then.
                self.set_links();
                self.apply_standings();
            }
            self.vrrp.set_wire(slot, wire);
        }
        self.follow_sources(&facts)?;
        self.set_links();
        self.apply_standings();
        Ok(())
    }

    /// Where the adverts of the router with this name leave from.
    pub(super) fn source_of(&self, router: &str) -> Option<IpAddr> {
        let mut routers = self.config.routers.iter();
        let index = routers.position(|other| other.name.value == router)?;
        *self.sources.get(index)?
    }

    /// A router whose source becomes another is in a fault meanwhile.
    fn follow_sources(&mut self, facts: &SystemFacts) -> anyhow::Result<()> {
        let sources = routers::sources(&self.config, facts, |name| self.source_of(name));
        if sources == self.sources {
            return Ok(());
        }
        let gone = |(new, old): (&Option<IpAddr>, &Option<IpAddr>)| old.filter(|_| new == old);
        let kept = sources.iter().zip(&self.sources).map(gone).collect();
        let before = std::mem::replace(&mut self.sources, kept);
        self.set_links();
        self.apply_standings();
        let built = routers::build(&self.config, &sources);
        let entries: Vec<_> = built.into_iter().map(|router| router.entry).collect();
        self.tables.set_routers(&entries)?;
        for (index, (new, old)) in sources.iter().zip(&before).enumerate() {
            if let (Some(source), true) = (new, new != old) {
                self.vrrp.set_source(index, *source);
            }
        }
        self.sources = sources;
        Ok(())
    }
}
