//! Names of requests: random enough that no two are the same, cheap enough to make one for each.

use std::cell::Cell;

/// A generator of its worker's own (xorshift128+), seeded by the kernel.
#[derive(Debug)]
pub(crate) struct Ids {
    state: Cell<(u64, u64)>,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let mut seed = [0; 16];
        let filled = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
        let seed = match filled {
            Ok(16) => u128::from_ne_bytes(seed),
            // Not before the kernel has collected entropy at boot; the address differs too.
            _ => (std::ptr::from_ref(&seed) as u128) << 64 | u128::from(std::process::id()),
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the two halves of the seed"
        )]
        let state = ((seed >> 64) as u64 | 1, seed as u64);
        Self {
            state: Cell::new(state),
        }
    }

    /// The next name; never zero.
    pub(crate) fn next(&self) -> u128 {
        (u128::from(self.draw()) << 64 | u128::from(self.draw())).max(1)
    }

    /// A random number.
    pub(crate) fn draw(&self) -> u64 {
        let (mut a, b) = self.state.get();
        a ^= a << 23;
        a ^= a >> 17;
        a ^= b ^ (b >> 26);
        self.state.set((b, a));
        a.wrapping_add(b)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_names_are_the_same() {
        let workers = [Ids::new(), Ids::new()];

        let names: BTreeSet<_> = (0..10_000)
            .flat_map(|_| workers.iter().map(Ids::next))
            .collect();

        assert_eq!(names.len(), 20_000);
    }
}
