use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::btree_map, prelude::*};

use super::*;
use crate::identity::backend_key;

const PRIME: u32 = 65_537;

fn equal(count: u32) -> Vec<Weighted> {
    (0..count).map(|n| backend(n, 1)).collect()
}

fn backend(number: u32, weight: u32) -> Weighted {
    let [_, b, c, d] = number.to_be_bytes();
    Weighted {
        key: backend_key(([10, b, c, d], 80).into()),
        weight,
    }
}

/// The key in every slot.
fn keys(backends: &[Weighted], slots: u32) -> Vec<u64> {
    build(backends, slots)
        .into_iter()
        .map(|index| backends[index.unwrap() as usize].key)
        .collect()
}

fn counts(keys: &[u64]) -> BTreeMap<u64, u32> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(*key).or_default() += 1;
    }
    counts
}

fn weighted() -> impl Strategy<Value = Vec<Weighted>> {
    btree_map(any::<u64>(), 0..1000u32, 1..40).prop_map(|all| {
        all.into_iter()
            .map(|(key, weight)| Weighted { key, weight })
            .collect()
    })
}

proptest! {
    #[test]
    fn every_slot_is_filled_and_a_drained_backend_never_chosen(
        backends in weighted(), slots in 1..3000u32,
    ) {
        let table = build(&backends, slots);
        prop_assert_eq!(table.len(), slots as usize);
        let any = backends.iter().any(|backend| backend.weight > 0);
        for chosen in table {
            prop_assert_eq!(chosen.is_some(), any);
            prop_assert!(chosen.is_none_or(|index| backends[index as usize].weight > 0));
        }
    }

    #[test]
    fn the_order_of_the_backends_has_no_say(backends in weighted(), rotate in 0..40usize) {
        prop_assume!(backends.iter().any(|backend| backend.weight > 0));
        let mut others = backends.clone();
        others.rotate_left(rotate % backends.len());
        others.reverse();
        prop_assert_eq!(keys(&backends, 1009), keys(&others, 1009));
    }

    #[test]
    fn a_drained_backend_is_the_same_as_none(backends in weighted()) {
        let staying: Vec<_> = backends.iter().copied().filter(|b| b.weight > 0).collect();
        prop_assume!(!staying.is_empty());
        prop_assert_eq!(keys(&backends, 1009), keys(&staying, 1009));
    }

    #[test]
    fn shares_are_within_two_slots_of_the_ideal(backends in weighted(), slots in 1..5000u32) {
        let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
        prop_assume!(total > 0);
        let counts = counts(&keys(&backends, slots));
        for Weighted { key, weight } in backends {
            let ideal = f64::from(weight) * f64::from(slots) / total as f64;
            let count = f64::from(counts.get(&key).copied().unwrap_or(0));
            prop_assert!((count - ideal).abs() < 2.0, "{count} slots instead of {ideal}");
        }
    }

    #[test]
    fn applying_the_difference_gives_the_new_table(
        old in prop::collection::vec(0..4u32, 0..50), new in prop::collection::vec(0..4u32, 0..50),
    ) {
        let mut patched = old.clone();
        patched.resize(new.len(), u32::MAX);
        let changes: Vec<_> = diff(&old, &new).collect();
        for (offset, value) in &changes {
            prop_assert_ne!(old.get(*offset as usize), Some(value));
            patched[*offset as usize] = *value;
        }
        prop_assert_eq!(patched, new);
    }
}

/// NSDI '16, table 1: permutations by (offset, skip) and the tables with and without B1.
#[test]
fn the_papers_example_comes_out() {
    let walks = || {
        vec![
            Walk { at: 3, skip: 4 },
            Walk { at: 0, skip: 2 },
            Walk { at: 3, skip: 1 },
        ]
    };
    let backends = |weights: [u32; 3]| {
        [0, 1, 2].map(|i| Weighted {
            key: i as u64,
            weight: weights[i],
        })
    };
    let table = |weights| -> Vec<_> {
        fill(&backends(weights), walks(), 7)
            .into_iter()
            .map(Option::unwrap)
            .collect()
    };
    assert_eq!(table([1, 1, 1]), [1, 0, 1, 0, 2, 2, 0]);
    assert_eq!(table([1, 0, 1]), [0, 0, 0, 0, 2, 2, 2]);
}

/// A change here moves flows between nodes of different versions.
#[test]
fn the_table_is_pinned() {
    let table: Vec<_> = build(&[backend(1, 1), backend(2, 2), backend(3, 1)], 13)
        .into_iter()
        .map(Option::unwrap)
        .collect();
    assert_eq!(table, [0, 2, 1, 2, 1, 0, 1, 1, 1, 1, 0, 1, 2]);
}

#[test]
fn weighted_shares_at_full_size_are_within_one_percent() {
    let backends: Vec<_> = (0..100).map(|n| backend(n, 1 + n % 10)).collect();
    let counts = counts(&keys(&backends, PRIME));
    for Weighted { key, weight } in backends {
        let ideal = f64::from(weight) * f64::from(PRIME) / 550.0;
        let error = (f64::from(counts[&key]) - ideal).abs() / ideal;
        assert!(error < 0.01, "weight {weight}: {error}");
    }
}

#[test]
fn equal_weights_differ_by_at_most_one_slot() {
    for count in [1, 2, 3, 100, 10_000] {
        let counts = counts(&keys(&equal(count), PRIME));
        assert_eq!(counts.len(), count as usize);
        let (least, most) = (
            counts.values().min().unwrap(),
            counts.values().max().unwrap(),
        );
        assert!(most - least <= 1, "{count} backends: {least} to {most}");
    }
}

/// Slots that lead elsewhere although their backend stayed.
fn disturbed(before: &[Weighted], after: &[Weighted]) -> f64 {
    let staying: BTreeSet<_> = after
        .iter()
        .filter(|b| b.weight > 0)
        .map(|b| b.key)
        .collect();
    let moved = keys(before, PRIME)
        .into_iter()
        .zip(keys(after, PRIME))
        .filter(|(old, new)| old != new && staying.contains(old));
    moved.count() as f64 / f64::from(PRIME)
}

#[test]
fn losing_one_backend_disturbs_few_slots_of_the_others() {
    for (count, bound) in [(2, 0.0), (10, 0.02), (100, 0.02), (1000, 0.02)] {
        let all = equal(count);
        let worst = (0..5)
            .map(|n| {
                let mut after = all.clone();
                after[(n * 7 % count) as usize].weight = 0;
                disturbed(&all, &after)
            })
            .fold(0.0, f64::max);
        println!(
            "{count} backends, one lost: {:.2} % of the slots move besides",
            worst * 100.0
        );
        assert!(worst <= bound, "{count} backends: {worst}");
    }
}

#[test]
fn one_backend_more_takes_its_share_and_disturbs_few_others() {
    for (count, bound) in [(1, 0.0), (10, 0.02), (100, 0.02), (1000, 0.02)] {
        let more = equal(count + 1);
        let before = keys(&more[..count as usize], PRIME);
        let after = keys(&more, PRIME);
        let new = more[count as usize].key;
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(old, after)| old != after && **after != new);
        let share = moved.count() as f64 / f64::from(PRIME);
        println!(
            "{count} backends, one more: {:.2} % of the slots move besides",
            share * 100.0
        );
        assert!(share <= bound, "{count} backends: {share}");
    }
}

#[test]
fn a_changed_weight_moves_little_more_than_its_share() {
    let before = equal(100);
    let mut after = before.clone();
    after[42].weight = 2;
    let moved = diff(&keys(&before, PRIME), &keys(&after, PRIME)).count();
    let share = moved as f64 / f64::from(PRIME);
    println!(
        "100 backends, one doubled: {:.2} % of the slots move, 0.98 % must",
        share * 100.0
    );
    assert!(share < 0.03, "{share}");
}

#[test]
fn a_table_without_slots_is_empty() {
    assert!(build(&equal(3), 0).is_empty());
    assert_eq!(build(&[], 3), [None; 3]);
}
