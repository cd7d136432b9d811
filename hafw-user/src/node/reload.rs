//! `hafw reload` and SIGHUP: makes the node what its changed file says.
//!
//! What may be refused is refused before anything is touched. Services, checks, priorities and the
//! proxy's part change while the node runs; for anything else the node restarts within its leases.

use anyhow::{Context as _, bail};
use tracing::info;

use super::{
    checks::{Around, targets},
    restart::Wish,
    routers::{self, Built},
    run::Node,
    services::nat_sources,
};
use crate::{
    config::{self, Config, SystemFacts, against_system},
    control::Answer,
};

impl Node {
    /// On request.
    pub(super) async fn answer_reload(&mut self) -> Answer {
        match self.reload().await {
            Ok(None) => Answer::Done("the file is in force".to_owned()),
            Ok(Some(reason)) => {
                self.wish = Some(Wish::Restart);
                Answer::Done(format!(
                    "{reason}: restarting within the leases to put the file into force"
                ))
            }
            Err(error) => Answer::Error(format!("{error:#}; nothing was changed")),
        }
    }

    /// Puts the file into force. Returns why that takes a restart, if it does: nothing is changed
    /// then.
    ///
    /// # Errors
    /// The file, the machine, or the proxy refuses; nothing is changed.
    pub(super) async fn reload(&mut self) -> anyhow::Result<Option<String>> {
        let new = config::load(&self.file)?;
        let facts = SystemFacts::gather().context("cannot list the interfaces")?;
        against_system(&new, &facts)?;
        self.knows_interfaces(&new, &facts)?;
        let (old, wanted) = (&self.config.node, &new.node);
        if (&old.state_dir, &old.pin_dir) != (&wanted.state_dir, &wanted.pin_dir) {
            bail!("`state_dir` and `pin_dir` cannot be changed while the node runs: stop it first");
        }
        let sources = routers::sources(&new, &facts, |name| self.source_of(name));
        let built = routers::build(&new, &sources);
        if let Some(reason) = self.needs_restart(&new, &built) {
            self.check_successor().await?;
            return Ok(Some(reason));
        }
        self.services.may_become(&new, &self.watch.handle()).await?;
        if let (Some(proxy), Some(wanted)) = (&self.proxy, &new.proxy) {
            proxy.handle.reload(wanted.clone()).await?;
        }
        self.put_into_force(new, &built).await?;
        info!("the changed file is in force");
        Ok(None)
    }

    /// A start waits for an interface that is missing. Where everything runs, a new name of which
    /// there is none is a mistake, and following it would take the VIPs down.
    fn knows_interfaces(&self, new: &Config, facts: &SystemFacts) -> anyhow::Result<()> {
        for interface in &new.interfaces {
            let name = &interface.name;
            let mut old = self.config.interfaces.iter();
            let known = facts.interfaces.contains_key(&name.value)
                || old.any(|old| old.name.value == name.value);
            if !known {
                bail!(
                    "{}: interface {:?}: there is none of this name here; only a start waits for one",
                    name.place,
                    name.value
                );
            }
        }
        Ok(())
    }

    async fn put_into_force(&mut self, new: Config, built: &[Built]) -> anyhow::Result<()> {
        let handle = self.watch.handle();
        let sources = nat_sources(&new, self.services.leaving());
        // As at the start: replies of backends that come are known before packets go there, and
        // those of backends that go until none do.
        self.clients.tables().add_sources(&sources)?;
        self.services.configure(&new, &mut self.tables)?;
        self.services.follow_new_routes(&handle).await?;
        self.services.put_all_hops(&mut self.tables)?;
        self.services.solicit(&handle).await;
        let sources = nat_sources(&new, self.services.leaving());
        self.clients.tables().retain_sources(&sources)?;
        // A VIP may have got its first service, or lost its last.
        let entries: Vec<_> = built.iter().map(|router| router.entry.clone()).collect();
        self.tables.set_routers(&entries)?;

        let before = std::mem::replace(&mut self.tracking, routers::tracking(&new));
        self.tracking.carry_on(&before);
        let around = Around {
            proxy: self.proxy.as_ref().map(|proxy| &proxy.control),
            netlink: &handle,
            links: &self.link_stir,
        };
        let targets = targets(&new, &self.services, &around)?;
        self.prober.set_targets(targets);
        self.config = new;
        self.exchange.configured();
        self.set_links();
        self.apply_standings();
        Ok(())
    }

    /// Why the change from the running configuration takes a restart, if it does.
    fn needs_restart(&self, new: &Config, built: &[Built]) -> Option<String> {
        let old = &self.config;
        let running = routers::build(old, &self.sources);
        let interfaces = |config: &Config| {
            let of = |i: &config::Interface| (i.name.value.clone(), i.xdp_mode);
            config.interfaces.iter().map(of).collect::<Vec<_>>()
        };
        let moved = running.len() != built.len()
            || running.iter().zip(built).any(|(a, b)| !a.same_protocol(b));
        let slots: u32 = new.services.iter().map(|service| service.slots).sum();
        let same_alerts = match (&old.alerts, &new.alerts) {
            (Some(old), Some(new)) => old.says_the_same(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        let policies = |config: &Config| {
            let of = |router: &config::Router| {
                let witnesses = router.witness.iter().map(|witness| witness.value);
                (
                    router.split_brain,
                    witnesses.collect::<Vec<_>>(),
                    router.deaf_after,
                )
            };
            config.routers.iter().map(of).collect::<Vec<_>>()
        };
        let same_witnesses = policies(old) == policies(new);
        let reason = if interfaces(old) != interfaces(new) {
            Some("other interfaces")
        } else if moved {
            Some("other virtual routers")
        } else if old.proxy.is_some() != new.proxy.is_some() {
            Some("the proxy comes or goes")
        } else if slots > self.slot_capacity {
            Some("more slots than the maps have")
        } else if old.node.id != new.node.id {
            Some("another id")
        } else if old.node.realtime != new.node.realtime {
            Some("another scheduling of the VRRP thread")
        } else if !same_alerts {
            Some("other alerts")
        } else if old.metrics != new.metrics {
            Some("another address of the metrics")
        } else if old.cluster != new.cluster {
            Some("another cluster")
        } else if !same_witnesses {
            Some("another policy against split brain")
        } else {
            None
        };
        reason.map(str::to_owned)
    }
}
