//! The node's interfaces as devices that go and come. A configured name has its slot for as long as
//! the node runs; the device behind it may be missing at the start, be made anew under another
//! index, or get another MAC. Each time the programs are attached and the sockets are opened again.

use std::{collections::BTreeMap, mem, net::IpAddr, time::Duration};

use aya::Ebpf;
use hafw_common::{iface::Iface, mac_to_word, maps::MAX_IFACES};
use thiserror::Error;
use tracing::{info, warn};

use super::{programs_log, routers::virtual_mac};
use crate::{
    config::{Config, InterfaceFacts, SystemFacts},
    datapath::{Attached, Datapath, InterfaceSpec, OpenError, PinDir, TableError, Tables},
    vrrp::{Wire, WireError, WireSpec},
};

/// How long another XDP program may be in the way while a node starts: the kernel releases a link
/// that was unpinned in a work queue (`bpf_link_put`, kernel/bpf/syscall.c).
pub(super) const AT_START: Duration = Duration::from_millis(500);

/// A device could not be taken.
#[derive(Debug, Error)]
pub(super) enum PortError {
    /// No programs on it.
    #[error(transparent)]
    Attach(#[from] OpenError),
    /// No sockets.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The maps refuse it.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// A slot's device is another one, or has another MAC, or is gone.
pub(super) struct Change {
    pub(super) slot: usize,
    pub(super) wire: Option<Wire>,
}

/// One interface of the configuration.
pub(super) struct Port {
    pub(super) spec: InterfaceSpec,
    programs: Ebpf,
    vips: Vec<IpAddr>,
    virtual_macs: Vec<[u8; 6]>,
    device: Option<Device>,
    /// The largest datagram that it takes, in bytes, if the kernel says.
    pub(super) mtu: Option<u32>,
    /// Why the device that is there is not taken.
    refused: Option<String>,
}

/// What an interface is now.
struct Device {
    attached: Attached,
    mac: [u8; 6],
    /// The kernel said so: one that is there now is another, even under the same index.
    gone: bool,
    /// It may have been, unheard.
    unsure: bool,
}

impl Port {
    fn new(config: &Config, spec: InterfaceSpec, mut programs: Ebpf) -> Self {
        programs_log::forward(&mut programs);
        let routers = config.routers.iter();
        let here = || routers.clone().filter(|r| r.interface.value == spec.name);
        let vips = here().flat_map(|router| &router.vips);
        Self {
            vips: vips.map(|vip| vip.address).collect(),
            virtual_macs: here().filter_map(virtual_mac).collect(),
            spec,
            programs,
            device: None,
            mtu: None,
            refused: None,
        }
    }

    /// Its kernel index and MAC, while there is one.
    pub(super) fn device(&self) -> Option<(u32, [u8; 6])> {
        let device = self.device.as_ref().filter(|device| !device.gone)?;
        Some((device.attached.ifindex, device.mac))
    }

    /// Why it cannot be used.
    pub(super) fn trouble(&self, links: &BTreeMap<u32, bool>) -> Option<String> {
        if let Some(refused) = &self.refused {
            return Some(refused.clone());
        }
        match self.device() {
            None => Some(format!("there is no interface {}", self.spec.name)),
            Some((ifindex, _)) if links.get(&ifindex) != Some(&true) => {
                Some("its interface is down".to_owned())
            }
            Some(_) => None,
        }
    }

    fn note_mtu(&mut self, facts: &SystemFacts) {
        let found = facts.interfaces.get(&self.spec.name);
        self.mtu = found.and_then(|found| found.mtu);
    }

    /// Takes the device that is there, or none. Whether it is another than before.
    fn follow(
        &mut self,
        slot: u32,
        found: Option<(u32, [u8; 6])>,
        tables: &mut Tables,
        pins: &PinDir,
        patience: Duration,
    ) -> Result<Option<Option<Wire>>, PortError> {
        let had = mem::take(&mut self.device);
        let Some((ifindex, mac)) = found else {
            self.refused = None;
            if had.is_none() {
                return Ok(None);
            }
            warn!(interface = self.spec.name, "it is gone: waiting for it");
            tables.set_iface(slot, None)?;
            return Ok(Some(None));
        };
        let same = |had: &Device| had.attached.ifindex == ifindex && !had.gone && !had.unsure;
        let stays = had.filter(same);
        if let Some(had) = &stays
            && had.mac == mac
        {
            self.device = stays;
            return Ok(None);
        }
        tables.set_iface(slot, Some(entry(ifindex, mac)))?;
        let attached = match stays {
            Some(had) => had.attached,
            None => Datapath::attach(&self.spec, &mut self.programs, ifindex, pins, patience)?,
        };
        let wire = Wire::open(&self.wire(ifindex, mac))?;
        self.device = Some(Device {
            attached,
            mac,
            gone: false,
            unsure: false,
        });
        self.refused = None;
        Ok(Some(Some(wire)))
    }

    fn wire(&self, ifindex: u32, mac: [u8; 6]) -> WireSpec {
        WireSpec {
            name: self.spec.name.clone(),
            ifindex,
            mac,
            vips: self.vips.clone(),
            virtual_macs: self.virtual_macs.clone(),
        }
    }
}

/// All of them, by slot.
pub(super) struct Ports(Vec<Port>);

impl Ports {
    /// None of them is attached yet. Writes what XDP must know of the devices that are there.
    pub(super) fn new(
        config: &Config,
        instances: Vec<(InterfaceSpec, Ebpf)>,
        facts: &SystemFacts,
        tables: &mut Tables,
    ) -> Result<Self, TableError> {
        let port = |(spec, programs)| Port::new(config, spec, programs);
        let ports: Vec<_> = instances.into_iter().map(port).collect();
        for slot in 0..MAX_IFACES {
            let port = ports.get(slot as usize);
            let found = port.and_then(|port| found(facts, &port.spec.name));
            tables.set_iface(slot, found.map(|(ifindex, mac)| entry(ifindex, mac)))?;
        }
        Ok(Self(ports))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Port> {
        self.0.iter()
    }

    /// The one with this name.
    pub(super) fn named(&self, name: &str) -> Option<&Port> {
        self.0.iter().find(|port| port.spec.name == name)
    }

    /// The kernel says that a device is gone.
    pub(super) fn gone(&mut self, ifindex: u32) {
        for device in self.devices() {
            device.gone |= device.attached.ifindex == ifindex;
        }
    }

    /// Any of them may be another device by now.
    pub(super) fn unsure(&mut self) {
        self.devices().for_each(|device| device.unsure = true);
    }

    /// Whether a device that is there is not taken: that may be tried again.
    pub(super) fn any_refused(&self) -> bool {
        self.0.iter().any(|port| port.refused.is_some())
    }

    /// Takes the devices that are there now. The first that cannot be taken ends it.
    pub(super) fn take(
        &mut self,
        facts: &SystemFacts,
        tables: &mut Tables,
        pins: &PinDir,
    ) -> Result<Vec<Option<Wire>>, PortError> {
        let mut wires = Vec::new();
        for (slot, port) in (0u32..).zip(&mut self.0) {
            let found = found(facts, &port.spec.name);
            port.note_mtu(facts);
            if found.is_none() {
                let interface = &port.spec.name;
                warn!(
                    interface,
                    "there is no interface of this name: waiting for it"
                );
            }
            let taken = port.follow(slot, found, tables, pins, AT_START)?;
            wires.push(taken.flatten());
        }
        self.retain_links(pins)?;
        Ok(wires)
    }

    /// The same of a node that runs: what cannot be taken is told, and tried again later.
    pub(super) fn follow(
        &mut self,
        facts: &SystemFacts,
        tables: &mut Tables,
        pins: &PinDir,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (slot, port) in (0u32..).zip(&mut self.0) {
            let found = found(facts, &port.spec.name);
            port.note_mtu(facts);
            let had = port.device.is_some();
            let followed = port.follow(slot, found, tables, pins, Duration::ZERO);
            let interface = &port.spec.name;
            let wire = match followed {
                Ok(None) => continue,
                Ok(Some(wire)) => {
                    if let Some((ifindex, _)) = port.device() {
                        info!(interface, ifindex, "taken");
                    }
                    wire
                }
                Err(error) => {
                    let text = error.to_string();
                    if port.refused.as_ref() != Some(&text) {
                        warn!(interface, "cannot be used: {text}");
                    }
                    port.refused = Some(text);
                    if !had {
                        continue;
                    }
                    None
                }
            };
            changes.push(Change {
                slot: slot as usize,
                wire,
            });
        }
        if !changes.is_empty()
            && let Err(error) = self.retain_links(pins)
        {
            warn!(%error, "links of an interface that is gone stay");
        }
        changes
    }

    fn retain_links(&self, pins: &PinDir) -> Result<(), OpenError> {
        let attached = self.0.iter().filter_map(|port| {
            let device = port.device.as_ref()?;
            Some((&port.spec, &device.attached))
        });
        Ok(Datapath::retain_links(attached, pins)?)
    }

    fn devices(&mut self) -> impl Iterator<Item = &mut Device> {
        self.0.iter_mut().filter_map(|port| port.device.as_mut())
    }
}

/// The device with this name, if it has a MAC.
fn found(facts: &SystemFacts, name: &str) -> Option<(u32, [u8; 6])> {
    let InterfaceFacts { index, mac, .. } = facts.interfaces.get(name)?;
    Some((*index, mac.filter(|mac| *mac != [0; 6])?))
}

fn entry(ifindex: u32, mac: [u8; 6]) -> Iface {
    Iface {
        mac: mac_to_word(mac),
        ifindex,
        reserved: 0,
    }
}
