//! Idle connections to the servers of one cluster, as nginx's `keepalive` keeps them: a bounded
//! number over all servers, the most recently used first, the least recently used closed first.

use std::collections::VecDeque;

use crate::retry::Millis;

/// Idle connections by server index.
#[derive(Debug)]
pub struct IdlePool<C> {
    servers: Vec<VecDeque<Idle<C>>>,
    total: usize,
    limit: usize,
    lifetime: Millis,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    since: Millis,
}

impl<C> IdlePool<C> {
    /// Keeps at most `limit` connections to `servers` servers, each for at most `lifetime`.
    #[must_use]
    pub fn new(servers: usize, limit: usize, lifetime: Millis) -> Self {
        Self {
            servers: (0..servers).map(|_| VecDeque::new()).collect(),
            total: 0,
            limit,
            lifetime,
        }
    }

    /// The connection to `server` that was used last.
    pub fn take(&mut self, server: usize) -> Option<C> {
        let idle = self.servers.get_mut(server)?.pop_back()?;
        self.total -= 1;
        Some(idle.connection)
    }

    /// Keeps a connection to `server`. Returns what must be closed to make room, which is
    /// `connection` itself if nothing is kept.
    pub fn put(&mut self, server: usize, connection: C, now: Millis) -> Option<C> {
        let closed = if self.total < self.limit {
            None
        } else if self.limit == 0 {
            return Some(connection);
        } else {
            self.take_oldest()
        };
        match self.servers.get_mut(server) {
            Some(idle) => idle.push_back(Idle {
                connection,
                since: now,
            }),
            None => return Some(connection),
        }
        self.total += 1;
        closed
    }

    /// Drops the connections that are too old or that `is_dead` says are closed.
    pub fn sweep(&mut self, now: Millis, mut is_dead: impl FnMut(&mut C) -> bool) {
        let lifetime = self.lifetime;
        let mut kept = 0;
        for server in &mut self.servers {
            server.retain_mut(|idle| {
                now.saturating_sub(idle.since) < lifetime && !is_dead(&mut idle.connection)
            });
            kept += server.len();
        }
        self.total = kept;
    }

    /// How many connections to `server` are kept.
    #[must_use]
    pub fn count(&self, server: usize) -> usize {
        self.servers.get(server).map_or(0, VecDeque::len)
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn take_oldest(&mut self) -> Option<C> {
        let oldest = self
            .servers
            .iter_mut()
            .filter(|server| !server.is_empty())
            .min_by_key(|server| server.front().map(|idle| idle.since))?;
        let idle = oldest.pop_front()?;
        self.total -= 1;
        Some(idle.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_used_last_is_taken_first() {
        let mut pool = IdlePool::new(1, 8, 1000);
        assert_eq!(pool.put(0, "a", 1), None);
        assert_eq!(pool.put(0, "b", 2), None);

        assert_eq!(pool.take(0), Some("b"));
        assert_eq!(pool.take(0), Some("a"));
        assert_eq!(pool.take(0), None);
    }

    #[test]
    fn a_full_pool_closes_the_least_recently_used_of_any_server() {
        let mut pool = IdlePool::new(2, 2, 1000);
        assert_eq!(pool.put(1, "old", 1), None);
        assert_eq!(pool.put(0, "newer", 2), None);

        assert_eq!(pool.put(0, "newest", 3), Some("old"));
        assert_eq!((pool.count(0), pool.count(1)), (2, 0));
    }

    #[test]
    fn a_pool_without_room_keeps_nothing() {
        let mut pool = IdlePool::new(1, 0, 1000);

        assert_eq!(pool.put(0, "a", 1), Some("a"));
        assert!(pool.is_empty());
    }

    #[test]
    fn a_sweep_drops_the_old_and_the_dead() {
        let mut pool = IdlePool::new(1, 8, 100);
        for (connection, since) in [("old", 0), ("dead", 50), ("good", 60)] {
            assert_eq!(pool.put(0, connection, since), None);
        }

        pool.sweep(100, |connection| *connection == "dead");

        assert_eq!(pool.count(0), 1);
        assert_eq!(pool.take(0), Some("good"));
        assert!(pool.is_empty());
    }
}
