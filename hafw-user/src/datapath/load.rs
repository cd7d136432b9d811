//! Loading the object, or adopting what an earlier controller left in the pin directory.

use std::{collections::BTreeSet, io, time::Duration};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, Map, MapData, MapError},
    programs::{ProgramError, SchedClassifier, Xdp},
};
use hafw_common::{ABI_VERSION, Node, maps};
use thiserror::Error;
use tracing::{debug, info};

use super::{
    attach::{
        AttachError, Attached, Device, Hook, XdpMode, attach_tc, attach_xdp, remove_filter, xdp_pin,
    },
    block_table::BlockTable,
    counters::Counters,
    events::EventRing,
    flow_table::FlowTable,
    jiffies::{ClockError, Jiffies},
    lease_table::LeaseTable,
    nat_tables::NatTables,
    object::{GLOBAL_IFACE_SLOT, OBJECT, PROGRAM_CLOCK, PROGRAM_XDP},
    pins::{PinDir, PinError},
    tables::{PeerTable, TableError, Tables},
    unresolved::UnresolvedRing,
};
use crate::sys::words::Words;

/// An interface to attach to, which may not be there yet. Its place in the list is its slot.
#[derive(Clone, Debug)]
pub struct InterfaceSpec {
    /// Name.
    pub name: String,
    /// Mode asked for.
    pub mode: XdpMode,
    /// A router on it goes by a virtual MAC.
    pub virtual_macs: bool,
}

/// What was in the pin directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Maps of this ABI, with room enough: taken over.
    Adoptable,
    /// Maps that this controller cannot use: to be made anew.
    Unfit,
}

/// Why there is no datapath.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The object cannot be loaded.
    #[error("cannot load the eBPF object: {0}")]
    Load(#[from] EbpfError),
    /// A program was refused; the verifier's log follows.
    #[error("cannot load {program}: {source}")]
    Program {
        /// The program.
        program: &'static str,
        /// The kernel's answer.
        source: ProgramError,
    },
    /// The object lacks something, or it is of another kind: built from other sources.
    #[error("the eBPF object has no usable {0}")]
    Missing(&'static str),
    /// A map is not what it should be.
    #[error("map {map}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// A word array cannot be mapped.
    #[error("cannot map a word array: {0}")]
    Words(#[from] io::Error),
    /// See [`ClockError`].
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// See [`AttachError`].
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// See [`PinError`].
    #[error(transparent)]
    Pin(#[from] PinError),
    /// See [`TableError`].
    #[error(transparent)]
    Table(#[from] TableError),
}

/// The open datapath, programs loaded but attached only by [`Datapath::attach`].
pub struct Datapath {
    /// Tables of what is ours.
    pub tables: Tables,
    /// Flows in slots that have moved.
    pub flows: FlowTable,
    /// Sources that are kept out.
    pub blocks: BlockTable,
    /// Tables of `nat` replies.
    pub nat: NatTables,
    /// Frames whose next hop is not known.
    pub unresolved: UnresolvedRing,
    /// The lease words.
    pub leases: LeaseTable,
    /// Adverts and claims.
    pub events: EventRing,
    /// Peers that XDP has seen.
    pub peers: PeerTable,
    /// Counters.
    pub counters: Counters,
    /// What was found; after [`Found::Unfit`] everything is new.
    pub found: Found,
    /// How many slots the maps have.
    pub capacity: u32,
    /// The loaded programs, by interface. Once attached they stay without this.
    pub instances: Vec<(InterfaceSpec, Ebpf)>,
}

impl Datapath {
    /// Loads one instance of the programs for each interface, over shared pinned maps. `slots`: how
    /// many slots the services need. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        pins: &PinDir,
        interfaces: &[InterfaceSpec],
        slots: u32,
    ) -> Result<Self, OpenError> {
        let (found, node) = examine(pins, slots)?;
        if found == Found::Unfit {
            info!("the pinned maps are of another version or too small: made anew");
            pins.clear()?;
        }
        let capacity = match found {
            Found::Adoptable => node.slot_capacity,
            // Room for services to come, so that a restart with one more adopts.
            Found::Nothing | Found::Unfit => slots.max(65_537).next_power_of_two(),
        };

        let mut instances = Vec::new();
        let mut taken = None;
        for (slot, spec) in (0u32..).zip(interfaces) {
            let mut ebpf = load(pins, slot, capacity)?;
            load_programs(&mut ebpf)?;
            if taken.is_none() {
                taken = Some(take_maps(&mut ebpf, pins, capacity, node.tick_ns)?);
            }
            instances.push((spec.clone(), ebpf));
        }
        let Some(Taken {
            mut tables,
            flows,
            blocks,
            nat,
            unresolved,
            leases,
            events,
            peers,
            counters,
            jiffies,
        }) = taken
        else {
            return Err(OpenError::Missing("interface to run on"));
        };
        tables.set_node(Node {
            abi_version: ABI_VERSION,
            slot_capacity: capacity,
            tick_ns: jiffies.tick_ns(),
            reserved: 0,
        })?;
        Ok(Self {
            tables,
            flows,
            blocks,
            nat,
            unresolved,
            leases,
            events,
            peers,
            counters,
            found,
            capacity,
            instances,
        })
    }

    /// Attaches an interface's programs to the device that it is now, or puts them into the links
    /// that are there. The tables must be filled before.
    ///
    /// # Errors
    /// See [`AttachError`]; what was attached stays pinned.
    pub fn attach(
        spec: &InterfaceSpec,
        ebpf: &mut Ebpf,
        ifindex: u32,
        pins: &PinDir,
        patience: Duration,
    ) -> Result<Attached, OpenError> {
        let InterfaceSpec {
            name,
            mode,
            virtual_macs,
        } = spec;
        // Egress first: nothing is said in a VIP's name before there can be a lease.
        for hook in hooks(*virtual_macs) {
            attach_tc(*hook, classifier(ebpf, *hook)?, name, ifindex, pins)?;
        }
        if !*virtual_macs {
            remove_filter(Hook::Ingress, name);
        }
        let on = Device {
            name,
            ifindex,
            mode: *mode,
        };
        let adopted = attach_xdp(xdp(ebpf, PROGRAM_XDP)?, &on, pins, patience)?;
        debug!(interface = name.as_str(), adopted, "attached");
        Ok(Attached {
            name: name.clone(),
            ifindex,
            mode: *mode,
            adopted,
        })
    }

    /// Takes links away that are of none of these.
    ///
    /// # Errors
    /// The pin directory cannot be listed, or a link not be removed.
    pub fn retain_links<'a>(
        attached: impl Iterator<Item = (&'a InterfaceSpec, &'a Attached)>,
        pins: &PinDir,
    ) -> Result<(), PinError> {
        let ours: Vec<_> = attached
            .flat_map(|(spec, attached)| {
                let hooks = hooks(spec.virtual_macs).iter();
                let mut pins: Vec<_> = hooks.map(|hook| hook.pin(attached.ifindex)).collect();
                pins.push(xdp_pin(attached.ifindex));
                pins
            })
            .collect();
        for name in pins.entries()? {
            if name.starts_with("link_") && !ours.contains(&name) {
                pins.remove(&name)?;
            }
        }
        Ok(())
    }
}

fn examine(pins: &PinDir, slots: u32) -> Result<(Found, Node), OpenError> {
    let nothing = Node {
        abi_version: 0,
        slot_capacity: 0,
        tick_ns: 0,
        reserved: 0,
    };
    let entries = pins.entries()?;
    if entries.is_empty() {
        return Ok((Found::Nothing, nothing));
    }
    let complete = maps::SHARED
        .iter()
        .all(|name| entries.iter().any(|entry| entry == name));
    let node = || -> Result<Node, MapError> {
        let map = Map::from_map_data(MapData::from_pin(pins.entry(maps::NODE))?)?;
        Array::<_, Node>::try_from(map)?.get(&0, 0)
    };
    match node() {
        Ok(node) if complete && node.abi_version == ABI_VERSION && node.slot_capacity >= slots => {
            Ok((Found::Adoptable, node))
        }
        Ok(_) | Err(_) => Ok((Found::Unfit, nothing)),
    }
}

fn load(pins: &PinDir, slot: u32, capacity: u32) -> Result<Ebpf, OpenError> {
    let mut loader = EbpfLoader::new();
    loader.override_global(GLOBAL_IFACE_SLOT, &slot, true);
    loader.map_max_entries(maps::SLOTS, capacity);
    loader.map_max_entries(maps::BASE_SEEN, capacity);
    for name in maps::SHARED {
        loader.map_pin_path(name, pins.entry(name));
    }
    Ok(loader.load(OBJECT)?)
}

fn load_programs(ebpf: &mut Ebpf) -> Result<(), OpenError> {
    for program in [PROGRAM_XDP, PROGRAM_CLOCK] {
        xdp(ebpf, program)?
            .load()
            .map_err(|source| OpenError::Program { program, source })?;
    }
    for hook in [Hook::Egress, Hook::Ingress] {
        classifier(ebpf, hook)?
            .load()
            .map_err(|source| OpenError::Program {
                program: hook.program(),
                source,
            })?;
    }
    Ok(())
}

struct Taken {
    tables: Tables,
    flows: FlowTable,
    blocks: BlockTable,
    nat: NatTables,
    unresolved: UnresolvedRing,
    leases: LeaseTable,
    events: EventRing,
    peers: PeerTable,
    counters: Counters,
    jiffies: Jiffies,
}

fn take_maps(ebpf: &mut Ebpf, pins: &PinDir, slots: u32, tick_ns: u32) -> Result<Taken, OpenError> {
    let jiffies = Jiffies::calibrate(xdp(ebpf, PROGRAM_CLOCK)?, tick_ns)?;
    let mut data = |name: &'static str| match ebpf.take_map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(OpenError::Missing(name)),
    };
    let leases = LeaseTable::map(data(maps::LEASES)?.fd(), data(maps::SEEN)?.fd(), jiffies)?;
    let base_seen = Words::map(data(maps::BASE_SEEN)?.fd(), slots as usize)?;
    let (slots, backends) = Tables::words(&data(maps::SLOTS)?, slots, &data(maps::BACKENDS)?)?;
    let tables = Tables {
        node: typed(ebpf, maps::NODE)?,
        ifaces: typed(ebpf, maps::IFACES)?,
        vrids: typed(ebpf, maps::VRIDS)?,
        routers: typed(ebpf, maps::ROUTERS)?,
        vip_filter: typed(ebpf, maps::VIP_FILTER)?,
        vips: typed(ebpf, maps::VIPS)?,
        services: typed(ebpf, maps::SERVICES)?,
        guards: typed(ebpf, maps::GUARDS)?,
        guarded: BTreeSet::new(),
        slots,
        backends,
    };
    let events = EventRing::new(typed(ebpf, maps::EVENTS)?);
    let counters = Counters::new(typed(ebpf, maps::COUNTERS)?, typed(ebpf, maps::TRAFFIC)?);
    let peers = PeerTable {
        peers: typed(ebpf, maps::PEERS)?,
    };
    let flows = FlowTable {
        flows: typed(ebpf, maps::FLOWS)?,
        base_seen,
        jiffies,
        pin: pins.entry(maps::FLOWS),
    };
    let blocks = BlockTable {
        blocked: typed(ebpf, maps::BLOCKED)?,
        jiffies,
    };
    let nat = NatTables {
        filter: typed(ebpf, maps::NAT_FILTER)?,
        sources: typed(ebpf, maps::NAT_SOURCES)?,
        routes: typed(ebpf, maps::ROUTES)?,
        neighbours: typed(ebpf, maps::NEIGHBOURS)?,
    };
    Ok(Taken {
        tables,
        flows,
        blocks,
        nat,
        unresolved: UnresolvedRing::new(typed(ebpf, maps::UNRESOLVED)?)?,
        leases,
        events,
        peers,
        counters,
        jiffies,
    })
}

fn typed<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    map: &'static str,
) -> Result<T, OpenError> {
    let taken = ebpf.take_map(map).ok_or(OpenError::Missing(map))?;
    T::try_from(taken).map_err(|source| OpenError::Map { map, source })
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, OpenError> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(OpenError::Missing(name))
}

fn classifier(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut SchedClassifier, OpenError> {
    ebpf.program_mut(hook.program())
        .and_then(|program| program.try_into().ok())
        .ok_or(OpenError::Missing(hook.program()))
}

/// Where an interface needs programs besides XDP.
const fn hooks(virtual_macs: bool) -> &'static [Hook] {
    if virtual_macs {
        &[Hook::Egress, Hook::Ingress]
    } else {
        &[Hook::Egress]
    }
}
