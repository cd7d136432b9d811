//! The ways to choose among the servers of a cluster that may be asked.

use std::hash::{Hash, Hasher};

use super::group::Server;

/// nginx's smooth weighted round robin: each server's current weight grows by its effective
/// weight, the largest is chosen and pays the total.
pub(super) fn round_robin<'a>(
    usable: impl Iterator<Item = (usize, &'a mut Server)>,
) -> Option<usize> {
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

pub(super) fn least_connections(usable: Vec<(usize, &mut Server)>) -> Option<usize> {
    let least = usable.iter().map(|(_, server)| load(server)).min()?;
    round_robin(
        usable
            .into_iter()
            .filter(|(_, server)| load(server) == least),
    )
}

/// Weighted rendezvous hashing: every key ranks the servers in an order of its own, and a server
/// that goes out moves only its own keys.
pub(super) fn by_hash<'a>(
    usable: impl Iterator<Item = (usize, &'a mut Server)>,
    key: u64,
) -> Option<usize> {
    let score = |server: &Server| {
        let mut hasher = Fnv(server.hash);
        hasher.write(&key.to_le_bytes());
        // The upper bits as a number in (0, 1).
        let unit = ((mix(hasher.finish()) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        server.weight as f64 / -unit.ln()
    };
    usable
        .map(|(index, server)| (score(server), index))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, index)| index)
}

/// The less loaded of two servers that are drawn by weight (nginx's `random two`).
pub(super) fn random_two(usable: &[(usize, &mut Server)], draw: u64) -> Option<usize> {
    let total: u64 = usable.iter().map(|(_, server)| weight(server)).sum();
    let pick = |draw: u64, without: Option<usize>| {
        let rest = usable.iter().filter(|(index, _)| Some(*index) != without);
        let total: u64 = total - without_weight(usable, without);
        let mut left = draw.checked_rem(total)?;
        rest.into_iter().find(|(_, server)| {
            let is_here = left < weight(server);
            left = left.saturating_sub(weight(server));
            is_here
        })
    };
    let (first, one) = pick(mix(draw), None)?;
    let Some((second, other)) = pick(mix(draw ^ mix(draw)), Some(*first)) else {
        return Some(*first);
    };
    Some(if load(other) < load(one) {
        *second
    } else {
        *first
    })
}

fn without_weight(usable: &[(usize, &mut Server)], without: Option<usize>) -> u64 {
    let mut all = usable.iter();
    all.find(|(index, _)| Some(*index) == without)
        .map_or(0, |(_, server)| weight(server))
}

fn weight(server: &Server) -> u64 {
    u64::try_from(server.weight.max(1)).unwrap_or(1)
}

/// Requests under way by weight, in a scale that keeps them apart.
fn load(server: &Server) -> u64 {
    (server.counters.active << 16) / weight(server)
}

/// A hash that is the same in every worker and on every node.
pub fn hash_of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = Fnv::default();
    value.hash(&mut hasher);
    mix(hasher.finish())
}

/// FNV-1a: small, and the same in every worker and on every node.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
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
