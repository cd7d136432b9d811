//! Bounds on what clients may ask for, over all workers: requests in a time, with nginx's
//! `limit_req` rules, and connections. Only what has a limit costs anything.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{model::RateLimit, offenders::Offenders, retry::Millis};

/// Parts of a table, so that workers seldom wait for each other.
const SHARDS: usize = 16;
/// The most keys that a part remembers.
const MAX_KEYS: usize = 8192;
/// One request, in the unit that excesses are counted in.
const REQUEST: u64 = 1000;

/// What all workers share.
#[derive(Debug, Default)]
pub struct Shared {
    zones: Mutex<BTreeMap<String, Arc<Zone>>>,
    connections: AtomicU32,
    sources: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
    hasher: RandomState,
    pub offenders: Offenders,
}

/// The requests of some keys, counted together.
#[derive(Debug, Default)]
pub struct Zone {
    shards: [Mutex<HashMap<u64, Bucket>>; SHARDS],
    hasher: RandomState,
}

/// A rate and what may exceed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Thousandths of a request a second.
    rate: u64,
    /// Likewise: what may exceed it.
    burst: u64,
    nodelay: bool,
}

/// What has been asked for beyond the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Thousandths of a request.
    excess: u64,
    last: Millis,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on after this time; zero = at once.
    Pass(Millis),
    Refuse,
}

/// The time that all workers have.
#[must_use]
pub fn now() -> Millis {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

impl Rate {
    #[must_use]
    pub fn new(limit: &RateLimit) -> Self {
        Self {
            rate: limit.rate.max(1),
            burst: u64::from(limit.burst) * REQUEST,
            nodelay: limit.nodelay,
        }
    }

    /// One more request: the bucket that it leaves, and what becomes of it (nginx's
    /// ngx_http_limit_req_lookup and ngx_http_limit_req_account). A refused request fills nothing.
    #[must_use]
    pub fn take(&self, bucket: Option<Bucket>, now: Millis) -> (Bucket, Verdict) {
        let excess = bucket.map_or(0, |bucket| {
            let drained = self.drained(now.saturating_sub(bucket.last));
            (bucket.excess + REQUEST).saturating_sub(drained)
        });
        match bucket {
            Some(bucket) if excess > self.burst => (bucket, Verdict::Refuse),
            Some(_) | None => {
                let delay = match self.nodelay {
                    true => 0,
                    false => excess.saturating_mul(1000) / self.rate,
                };
                (Bucket { excess, last: now }, Verdict::Pass(delay))
            }
        }
    }

    fn drained(&self, elapsed: Millis) -> u64 {
        self.rate.saturating_mul(elapsed) / 1000
    }
}

impl Zone {
    /// One more request of a key.
    pub fn take(&self, key: &[u8], rate: Rate, now: Millis) -> Verdict {
        let key = self.hasher.hash_one(key);
        let Some(shard) = self.shards.get(shard(key)) else {
            return Verdict::Pass(0);
        };
        let mut buckets = lock(shard);
        if buckets.len() >= MAX_KEYS && !buckets.contains_key(&key) {
            let drains = |bucket: &Bucket| rate.drained(now.saturating_sub(bucket.last));
            buckets.retain(|_, bucket| bucket.excess + REQUEST > drains(bucket));
            if buckets.len() >= MAX_KEYS {
                // More keys at once than can be told apart: all begin anew.
                buckets.clear();
            }
        }
        let (bucket, verdict) = rate.take(buckets.get(&key).copied(), now);
        buckets.insert(key, bucket);
        verdict
    }
}

impl Shared {
    /// The zone of a name, which a new configuration goes on with.
    #[must_use]
    pub fn zone(&self, name: &str) -> Arc<Zone> {
        let mut zones = lock(&self.zones);
        Arc::clone(zones.entry(name.to_owned()).or_default())
    }

    /// A connection more, if there may be one. `most` and `most_per_source`: 0 = no limit.
    #[must_use]
    pub fn admit(
        self: &Arc<Self>,
        source: IpAddr,
        most: u32,
        most_per_source: u32,
    ) -> Option<Admission> {
        let mut admission = Admission {
            shared: Arc::clone(self),
            is_counted: false,
            source: None,
        };
        if most > 0 {
            let before = self.connections.fetch_add(1, Ordering::Relaxed);
            admission.is_counted = true;
            if before >= most {
                return None;
            }
        }
        if most_per_source > 0 {
            let source = source.to_canonical();
            let mut sources = lock(self.sources_of(source)?);
            let count = sources.entry(source).or_default();
            if *count >= most_per_source {
                return None;
            }
            *count += 1;
            drop(sources);
            admission.source = Some(source);
        }
        Some(admission)
    }

    fn sources_of(&self, source: IpAddr) -> Option<&Mutex<HashMap<IpAddr, u32>>> {
        self.sources.get(shard(self.hasher.hash_one(source)))
    }
}

/// A connection that counts until it ends.
#[derive(Debug)]
pub struct Admission {
    shared: Arc<Shared>,
    is_counted: bool,
    source: Option<IpAddr>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.is_counted {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(source) = self.source
            && let Some(sources) = self.shared.sources_of(source)
        {
            let mut sources = lock(sources);
            if let Some(count) = sources.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    sources.remove(&source);
                }
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only the lowest bits count"
)]
fn shard(hash: u64) -> usize {
    hash as usize % SHARDS
}

/// What a worker that broke left is still a table.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rate: u64, burst: u32, nodelay: bool) -> Rate {
        Rate::new(&RateLimit {
            rate,
            burst,
            nodelay,
            ..RateLimit::default()
        })
    }

    /// The verdicts over requests at these times.
    fn verdicts(rate: Rate, times: &[Millis]) -> Vec<Verdict> {
        let zone = Zone::default();
        let times = times.iter();
        times.map(|now| zone.take(b"key", rate, *now)).collect()
    }

    use Verdict::{Pass, Refuse};

    #[test]
    fn without_a_burst_requests_keep_their_distance() {
        let ten = rate(10_000, 0, false);

        assert_eq!(
            verdicts(ten, &[1000, 1050, 1100, 1199, 1200]),
            [Pass(0), Refuse, Pass(0), Refuse, Pass(0)]
        );
    }

    #[test]
    fn a_burst_waits_until_the_rate_is_kept() {
        let ten = rate(10_000, 2, false);

        assert_eq!(
            verdicts(ten, &[1000, 1000, 1000, 1000, 1100]),
            [Pass(0), Pass(100), Pass(200), Refuse, Pass(200)]
        );
    }

    #[test]
    fn a_burst_without_delay_passes_at_once() {
        let ten = rate(10_000, 2, true);

        assert_eq!(
            verdicts(ten, &[1000, 1000, 1000, 1000, 1100]),
            [Pass(0), Pass(0), Pass(0), Refuse, Pass(0)]
        );
    }

    #[test]
    fn keys_do_not_count_for_each_other() {
        let zone = Zone::default();
        let one = rate(1000, 0, false);

        assert_eq!(zone.take(b"a", one, 1000), Pass(0));
        assert_eq!(zone.take(b"b", one, 1000), Pass(0));
        assert_eq!(zone.take(b"a", one, 1000), Refuse);
    }

    #[test]
    fn a_table_does_not_grow_without_bounds() {
        let zone = Zone::default();
        let one = rate(1, 0, false);
        for key in 0..(SHARDS * MAX_KEYS + 100_000) as u64 {
            zone.take(&key.to_le_bytes(), one, 1000);
        }

        let keys: usize = zone.shards.iter().map(|shard| lock(shard).len()).sum();
        assert!(keys <= SHARDS * MAX_KEYS, "{keys}");
    }

    #[test]
    fn connections_count_until_they_end() {
        let shared = Arc::<Shared>::default();
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));

        let first = shared.admit(a, 2, 1);
        assert!(first.is_some());
        assert!(shared.admit(a, 2, 1).is_none(), "one for each source");
        let second = shared.admit(b, 2, 1);
        assert!(second.is_some());
        assert!(shared.admit(IpAddr::from([10, 0, 0, 3]), 2, 1).is_none());
        drop(first);
        assert!(shared.admit(a, 2, 1).is_some());
        drop(second);
    }
}
