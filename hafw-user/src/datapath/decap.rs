//! The program of `hafw decap` on one interface. Nothing of it is pinned: it goes with its process.

use std::{io, net::IpAddr};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{MapError, PerCpuArray, lpm_trie::Key, lpm_trie::LpmTrie},
    programs::{ProgramError, Xdp, XdpMode as AyaMode},
};
use hafw_common::{decap::DecapCounter, mac_to_word, mapped};
use thiserror::Error;

use super::{XdpMode, nat_tables::bits_before};

/// The object that `build.rs` compiled, aligned for aya's ELF parser.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hafw-decap"));

/// What the program is told.
#[derive(Clone, Debug)]
pub struct DecapSettings {
    /// The interface.
    pub interface: String,
    /// Its MAC.
    pub mac: [u8; 6],
    /// Where XDP runs.
    pub mode: XdpMode,
    /// The port of `gue` tunnels.
    pub gue_port: u16,
    /// Networks that tunnels may come from.
    pub from: Vec<(IpAddr, u8)>,
}

/// Why there is none.
#[derive(Debug, Error)]
pub enum DecapError {
    /// The object cannot be loaded.
    #[error("cannot load the eBPF object: {0}")]
    Load(#[from] EbpfError),
    /// The program was refused.
    #[error("cannot load the program: {0}")]
    Program(#[source] ProgramError),
    /// The interface cannot have it.
    #[error("interface {interface}: cannot attach the program ({source}){hint}")]
    Attach {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: ProgramError,
        /// What may help.
        hint: &'static str,
    },
    /// A map refused.
    #[error("map: {0}")]
    Map(#[from] MapError),
    /// The object lacks something: it was built from other sources.
    #[error("the eBPF object has no usable {0}")]
    Missing(&'static str),
    /// See [`io::Error`].
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The attached program; dropped, it is detached.
pub struct Decap {
    ebpf: Ebpf,
}

impl Decap {
    /// Loads and attaches the program.
    ///
    /// # Errors
    /// See [`DecapError`].
    pub fn attach(settings: &DecapSettings) -> Result<Self, DecapError> {
        let mut ebpf = EbpfLoader::new()
            .override_global("MAC", &mac_to_word(settings.mac), true)
            .override_global("GUE_PORT", &settings.gue_port, true)
            .load(OBJECT)?;
        let sources = ebpf
            .map_mut("SOURCES")
            .ok_or(DecapError::Missing("SOURCES"))?;
        let mut sources: LpmTrie<_, [u8; 16], u32> = LpmTrie::try_from(sources)?;
        for (address, length) in &settings.from {
            let length = bits_before(*address) + u32::from(*length);
            sources.insert(&Key::new(length, mapped(*address)), 1, 0)?;
        }
        let program: &mut Xdp = ebpf
            .program_mut("hafw_decap")
            .and_then(|program| program.try_into().ok())
            .ok_or(DecapError::Missing("program"))?;
        program.load().map_err(DecapError::Program)?;
        let (mode, hint) = match settings.mode {
            XdpMode::Native => (
                AyaMode::Driver,
                ": another program may be on it, or its driver has no native XDP: try --generic",
            ),
            XdpMode::Generic => (AyaMode::Skb, ": another program may be on it"),
        };
        program
            .attach(&settings.interface, mode)
            .map_err(|source| DecapError::Attach {
                interface: settings.interface.clone(),
                source,
                hint,
            })?;
        Ok(Self { ebpf })
    }

    /// How many frames became what.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counters(&self) -> Result<Vec<(DecapCounter, u64)>, DecapError> {
        let map = self
            .ebpf
            .map("COUNTERS")
            .ok_or(DecapError::Missing("COUNTERS"))?;
        let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        let value = |counter: DecapCounter| {
            let cpus = counters.get(&(counter as u32), 0)?;
            Ok((counter, cpus.iter().sum()))
        };
        DecapCounter::ALL.into_iter().map(value).collect()
    }
}
