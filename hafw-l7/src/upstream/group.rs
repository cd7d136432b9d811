//! Whose turn it is among the servers of a cluster, with nginx's rules: `max_fails` within
//! `fail_timeout`, backup servers when all others are out; and with what probes tell, slow starts
//! and bounded numbers of requests.

use std::{net::IpAddr, time::Duration};

use super::balance::{self, hash_of};
use crate::{
    counters::{ServerCounters, UpstreamCounters},
    model::{Address, Balance, Upstream, UpstreamServer},
    retry::{Millis, millis},
};

/// The most servers a cluster may have.
pub const MAX_SERVERS: usize = 256;

/// The servers that one request has asked already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried([u64; MAX_SERVERS / 64]);

/// What a request brings to the choice of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub client: IpAddr,
    /// A hash of what [`Balance::Hash`] looks at.
    pub key: u64,
    /// A random number.
    pub draw: u64,
    /// The server that a cookie names, by [`Group::mark`].
    pub stick_to: Option<u64>,
}

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
pub(super) struct Server {
    address: Address,
    pub(super) weight: i64,
    /// Falls with failures and recovers by one with each choice.
    pub(super) effective_weight: i64,
    pub(super) current_weight: i64,
    max_connections: u64,
    slow_start: Millis,
    /// When it came back; `None` = it was never away.
    back_since: Option<Millis>,
    /// Probes say that it is down.
    is_down: bool,
    max_fails: u32,
    fail_timeout: Millis,
    fails: u32,
    /// When the last failure was.
    accessed: Millis,
    /// When the server was last failed or, once it was out, last given a chance.
    checked: Millis,
    pub(super) hash: u64,
    pub(super) counters: ServerCounters,
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
    pub fn address(&self, server: usize) -> Option<&Address> {
        self.servers.get(server).map(|server| &server.address)
    }

    /// What stands for a server in a cookie: the same on every node and in every worker.
    #[must_use]
    pub fn mark(&self, server: usize) -> u64 {
        self.servers.get(server).map_or(0, |server| server.hash)
    }

    /// Chooses the server of the next attempt and marks it as tried. `None` if every server was
    /// tried, is out or has as many requests as it may. Each choice must be followed by one
    /// [`Self::release`].
    pub fn choose(&mut self, asker: &Asker, tried: &mut Tried, now: Millis) -> Option<usize> {
        let chosen = self
            .choose_marked(asker, tried, now)
            .or_else(|| self.choose_among(false, asker, tried, now))
            .or_else(|| self.choose_among(true, asker, tried, now))?;
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
        let single = self.is_single();
        self.servers.iter().enumerate().any(|(index, server)| {
            !tried.contains(index) && server.is_in(single, now) && !server.is_full()
        })
    }

    /// Whether [`Self::choose`] would find a server if fewer requests were under way.
    #[must_use]
    pub fn is_full(&self, tried: &Tried, now: Millis) -> bool {
        let single = self.is_single();
        self.servers.iter().enumerate().any(|(index, server)| {
            !tried.contains(index) && server.is_in(single, now) && server.is_full()
        })
    }

    /// Takes in what probes say of the servers with an address. Returns true if that changes
    /// something.
    pub fn set_health(&mut self, address: &Address, is_up: bool, now: Millis) -> bool {
        let mut has_changed = false;
        for server in self.servers.iter_mut().filter(|s| s.address == *address) {
            has_changed |= server.is_down == is_up;
            if server.is_down && is_up {
                server.fails = 0;
                server.back_since = Some(now);
            }
            server.is_down = !is_up;
        }
        has_changed
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
                    if server.max_fails > 0 && server.fails >= server.max_fails {
                        server.back_since = Some(now);
                    }
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

    /// Counts how long a server took to answer.
    pub fn count_latency(&mut self, server: usize, took: Duration) {
        if let Some(server) = self.servers.get_mut(server) {
            server.counters.latency.count(took);
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
                    out: u64::from(!server.is_in(self.is_single(), now)),
                    ..server.counters.clone()
                })
                .collect(),
        }
    }

    /// Takes over what `old`, the same cluster under an earlier configuration, knew of the servers
    /// that both have.
    pub fn inherit(&mut self, old: &Self) {
        for server in &mut self.servers {
            let mut before = old.servers.iter();
            if let Some(before) = before.find(|before| before.address == server.address) {
                server.is_down = before.is_down;
                server.back_since = before.back_since;
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

    /// The server that a cookie names, if it can be asked.
    fn choose_marked(&self, asker: &Asker, tried: &Tried, now: Millis) -> Option<usize> {
        let mark = asker.stick_to?;
        let single = self.is_single();
        self.servers.iter().enumerate().position(|(index, server)| {
            server.hash == mark
                && !tried.contains(index)
                && server.is_in(single, now)
                && !server.is_full()
        })
    }

    fn choose_among(
        &mut self,
        backup: bool,
        asker: &Asker,
        tried: &Tried,
        now: Millis,
    ) -> Option<usize> {
        let starts = |server: &Server| server.slow_start > 0 && server.back_since.is_some();
        if self.servers.iter().any(starts) {
            let ready = |server: &Server| !server.is_held_back(asker.draw, now);
            let chosen = self.choose_where(backup, asker, tried, now, ready);
            if chosen.is_some() {
                return chosen;
            }
        }
        self.choose_where(backup, asker, tried, now, |_| true)
    }

    fn choose_where(
        &mut self,
        backup: bool,
        asker: &Asker,
        tried: &Tried,
        now: Millis,
        is_ready: impl Fn(&Server) -> bool,
    ) -> Option<usize> {
        let single = self.is_single();
        let usable = self
            .servers
            .iter_mut()
            .enumerate()
            .filter(|(index, server)| {
                server.counters.backup == backup
                    && !tried.contains(*index)
                    && server.is_in(single, now)
                    && !server.is_full()
                    && is_ready(server)
            });
        match self.balance {
            Balance::RoundRobin => balance::round_robin(usable),
            Balance::LeastConnections => balance::least_connections(usable.collect()),
            Balance::SourceHash => balance::by_hash(usable, hash_of(&asker.client)),
            Balance::Hash => balance::by_hash(usable, asker.key),
            Balance::RandomTwo => balance::random_two(&usable.collect::<Vec<_>>(), asker.draw),
        }
    }
}

impl Server {
    fn new(server: &UpstreamServer) -> Self {
        // As a cookie carries it, it must not tell more than which server it is.
        let hash = match &server.address {
            Address::Ip(address) => hash_of(address),
            Address::Name { host, port } => hash_of(&(host, port)),
            Address::Unix(path) => hash_of(path),
        };
        Self {
            address: server.address.clone(),
            max_connections: u64::from(server.max_connections),
            slow_start: millis(server.slow_start),
            back_since: None,
            is_down: false,
            weight: i64::from(server.weight),
            effective_weight: i64::from(server.weight),
            current_weight: 0,
            max_fails: server.max_fails,
            fail_timeout: millis(server.fail_timeout),
            fails: 0,
            accessed: 0,
            checked: 0,
            hash,
            counters: ServerCounters::new(server.address.to_string(), server.backup),
        }
    }

    /// Whether it may be asked, but for its load. `single`: there is nothing to ask instead, so
    /// failed requests do not take it out.
    fn is_in(&self, single: bool, now: Millis) -> bool {
        !self.is_down && (single || !self.is_out(now))
    }

    fn is_full(&self) -> bool {
        self.max_connections > 0 && self.counters.active >= self.max_connections
    }

    /// Whether a request with this random number passes by the server because it has come back
    /// not long ago.
    fn is_held_back(&self, draw: u64, now: Millis) -> bool {
        let Some(since) = self.back_since.filter(|_| self.slow_start > 0) else {
            return false;
        };
        let passed = now.saturating_sub(since).max(1);
        passed < self.slow_start && draw % self.slow_start >= passed
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
