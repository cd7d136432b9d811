//! `hafw decap`: what its program counts.

/// What became of a frame: index into the program's array of counters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecapCounter {
    /// Nothing that came through a tunnel, or not in a form that a tunnel has: left to the stack.
    Pass,
    /// Taken out of its tunnel.
    Decapsulated,
    /// From an address that tunnels may not come from.
    DropSource,
    /// A fragment of a tunnel's datagram.
    DropFragment,
    /// What is in the tunnel is no datagram, or one of another length.
    DropMalformed,
    /// Congestion was met on the way, and the inner datagram's sender does not take marks (RFC 6040).
    DropCongested,
}

impl DecapCounter {
    /// All of them, in the order of their indices.
    pub const ALL: [Self; 6] = [
        Self::Pass,
        Self::Decapsulated,
        Self::DropSource,
        Self::DropFragment,
        Self::DropMalformed,
        Self::DropCongested,
    ];

    /// The name under which it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Decapsulated => "decapsulated",
            Self::DropSource => "drop_source",
            Self::DropFragment => "drop_fragment",
            Self::DropMalformed => "drop_malformed",
            Self::DropCongested => "drop_congested",
        }
    }

    /// Whether the frame goes up the stack.
    #[must_use]
    #[inline(always)]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Pass | Self::Decapsulated)
    }
}

/// Sources that tunnels may come from, as prefixes, at most.
pub const MAX_SOURCES: u32 = 1024;
