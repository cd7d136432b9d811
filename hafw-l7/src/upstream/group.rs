//! Whose turn it is among the servers of a cluster, with nginx's rules: smooth weighted round
//! robin, `max_fails` within `fail_timeout`, backup servers when all others are out.

use std::{
    hash::{Hash as _, Hasher as _},
    net::{IpAddr, SocketAddr},
};

use crate::{
    counters::{ServerCounters, UpstreamCounters},
    model::{Balance, Upstream, UpstreamServer},
    retry::{Millis, millis},
};

/// The most servers a cluster may have.
pub const MAX_SERVERS: usize = 256;

/// The servers that one request has asked already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried([u64; MAX_SERVERS / 64]);

/// How an attempt at a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, or the request ended for a reason that is not the server's.
    Served,
    /// It failed in a way that counts towards `max_fails`.
    Failed,
}

/// A cluster in one worker.
#[derive(Clone, Debug)]
pub struct Group {
    name: String,
    balance: Balance,
    servers: Vec<Server>,
}

#[derive(Clone, Debug)]
struct Server {
    weight: i64,
    /// Falls with failures and recovers by one with each choice.
    effective_weight: i64,
    current_weight: i64,
    max_fails: u32,
    fail_timeout: Millis,
    fails: u32,
    /// When the last failure was.
    accessed: Millis,
    /// When the server was last failed or, once it was out, last given a chance.
    checked: Millis,
    hash: u64,
    counters: ServerCounters,
}

impl Group {
    #[must_use]
    pub fn new(upstream: &Upstream) -> Self {
        Self {
            name: upstream.name.clone(),
            balance: upstream.balance,
            servers: upstream.servers.iter().map(Server::new).collect(),
        }
    }

    /// How many servers there are, backups included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether the cluster has no server at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Where a server is.
    #[must_use]
    pub fn address(&self, server: usize) -> Option<SocketAddr> {
        self.servers.get(server).map(|s| s.counters.address)
    }

    /// Chooses the server of the next attempt for a client and marks it as tried. `None` if every
    /// server was tried or is out. Each choice must be followed by one [`Self::release`].
    pub fn choose(&mut self, client: IpAddr, tried: &mut Tried, now: Millis) -> Option<usize> {
        let chosen = self
            .choose_among(false, client, tried, now)
            .or_else(|| self.choose_among(true, client, tried, now))?;
        tried.insert(chosen);
        let server = self.servers.get_mut(chosen)?;
        if now.saturating_sub(server.checked) > server.fail_timeout {
            server.checked = now;
        }
        server.counters.attempts += 1;
        server.counters.active += 1;
        Some(chosen)
    }

    /// Whether [`Self::choose`] would find a server.
    #[must_use]
    pub fn has_another(&self, tried: &Tried, now: Millis) -> bool {
        self.servers.iter().enumerate().any(|(index, server)| {
            !tried.contains(index) && (self.is_single() || !server.is_out(now))
        })
    }

    /// An attempt has ended. Returns true if that failure took the server out.
    pub fn release(&mut self, server: usize, outcome: Outcome, now: Millis) -> bool {
        let single = self.is_single();
        let Some(server) = self.servers.get_mut(server) else {
            return false;
        };
        server.counters.active = server.counters.active.saturating_sub(1);
        match outcome {
            Outcome::Served => {
                // A server that was given a chance after its time out, and served, is back.
                if server.accessed < server.checked {
                    server.fails = 0;
                }
                false
            }
            Outcome::Failed => {
                server.counters.failures += 1;
                !single && server.fail(now)
            }
        }
    }

    /// Counts a connection opened to a server.
    pub fn count_connect(&mut self, server: usize) {
        if let Some(server) = self.servers.get_mut(server) {
            server.counters.connects += 1;
        }
    }

    /// Counts an answer of a server, by its class (see [`crate::counters::class`]).
    pub fn count_answer(&mut self, server: usize, class: usize) {
        if let Some(server) = self.servers.get_mut(server)
            && let Some(count) = server.counters.answers.get_mut(class)
        {
            *count += 1;
        }
    }

    /// What was counted; `idle` gives the number of idle connections by server.
    #[must_use]
    pub fn counters(&self, now: Millis, idle: impl Fn(usize) -> usize) -> UpstreamCounters {
        let servers = self.servers.iter().enumerate();
        UpstreamCounters {
            name: self.name.clone(),
            servers: servers
                .map(|(index, server)| ServerCounters {
                    idle: idle(index) as u64,
                    out: u64::from(!self.is_single() && server.is_out(now)),
                    ..server.counters.clone()
                })
                .collect(),
        }
    }

    /// Takes over what `old`, the same cluster under an earlier configuration, knew of the servers
    /// that both have.
    pub fn inherit(&mut self, old: &Self) {
        for server in &mut self.servers {
            let address = server.counters.address;
            let before = old.servers.iter().find(|s| s.counters.address == address);
            if let Some(before) = before {
                server.fails = before.fails;
                server.accessed = before.accessed;
                server.checked = before.checked;
                server.counters = ServerCounters {
                    backup: server.counters.backup,
                    // Attempts under way are released at the old group.
                    active: 0,
                    ..before.counters.clone()
                };
            }
        }
    }

    /// A cluster of one server, which is never out: there is nothing to ask instead.
    fn is_single(&self) -> bool {
        self.servers.len() == 1
    }

    fn choose_among(
        &mut self,
        backup: bool,
        client: IpAddr,
        tried: &Tried,
        now: Millis,
    ) -> Option<usize> {
        let single = self.is_single();
        let usable = self
            .servers
            .iter_mut()
            .enumerate()
            .filter(|(index, server)| {
                server.counters.backup == backup
                    && !tried.contains(*index)
                    && (single || !server.is_out(now))
            });
        match self.balance {
            Balance::RoundRobin => round_robin(usable),
            Balance::LeastConnections => least_connections(usable.collect()),
            Balance::SourceHash => source_hash(usable, client),
        }
    }
}

impl Server {
    fn new(server: &UpstreamServer) -> Self {
        let mut hasher = Fnv::default();
        server.address.hash(&mut hasher);
        Self {
            weight: i64::from(server.weight),
            effective_weight: i64::from(server.weight),
            current_weight: 0,
            max_fails: server.max_fails,
            fail_timeout: millis(server.fail_timeout),
            fails: 0,
            accessed: 0,
            checked: 0,
            hash: hasher.finish(),
            counters: ServerCounters::new(server.address, server.backup),
        }
    }

    fn is_out(&self, now: Millis) -> bool {
        self.max_fails > 0
            && self.fails >= self.max_fails
            && now.saturating_sub(self.checked) <= self.fail_timeout
    }

    /// Returns whether this failure was the one too many.
    fn fail(&mut self, now: Millis) -> bool {
        self.fails = self.fails.saturating_add(1);
        self.accessed = now;
        self.checked = now;
        if self.max_fails == 0 {
            return false;
        }
        self.effective_weight -= self.weight / i64::from(self.max_fails);
        self.effective_weight = self.effective_weight.max(0);
        self.fails == self.max_fails
    }
}

/// nginx's smooth weighted round robin: each server's current weight grows by its effective
/// weight, the largest is chosen and pays the total.
fn round_robin<'a>(usable: impl Iterator<Item = (usize, &'a mut Server)>) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<(usize, &mut Server)> = None;
    for (index, server) in usable {
        server.current_weight += server.effective_weight;
        total += server.effective_weight;
        if server.effective_weight < server.weight {
            server.effective_weight += 1;
        }
        if best
            .as_ref()
            .is_none_or(|(_, best)| server.current_weight > best.current_weight)
        {
            best = Some((index, server));
        }
    }
    let (index, server) = best?;
    server.current_weight -= total;
    Some(index)
}

fn least_connections(usable: Vec<(usize, &mut Server)>) -> Option<usize> {
    let load = |server: &Server| {
        // Compared as fractions active / weight, in a common scale that keeps them apart.
        (server.counters.active << 16) / u64::try_from(server.weight.max(1)).unwrap_or(1)
    };
    let least = usable.iter().map(|(_, server)| load(server)).min()?;
    round_robin(
        usable
            .into_iter()
            .filter(|(_, server)| load(server) == least),
    )
}

/// Weighted rendezvous hashing: every client ranks the servers in an order of its own, and a server
/// that goes out moves only its own clients.
fn source_hash<'a>(
    usable: impl Iterator<Item = (usize, &'a mut Server)>,
    client: IpAddr,
) -> Option<usize> {
    let score = |server: &Server| {
        let mut hasher = Fnv(server.hash);
        client.hash(&mut hasher);
        // The upper bits as a number in (0, 1).
        let unit = ((mix(hasher.finish()) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        server.weight as f64 / -unit.ln()
    };
    usable
        .map(|(index, server)| (score(server), index))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, index)| index)
}

/// FNV-1a: small, and the same in every worker and on every node.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Spreads every bit over the word (MurmurHash3's finaliser), which FNV's last bytes do not.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

impl Tried {
    fn contains(&self, server: usize) -> bool {
        let word = self.0.get(server / 64).copied();
        word.is_none_or(|word| word & (1 << (server % 64)) != 0)
    }

    fn insert(&mut self, server: usize) {
        if let Some(word) = self.0.get_mut(server / 64) {
            *word |= 1 << (server % 64);
        }
    }
}

#[cfg(test)]
mod tests;
