// The library's B-tree: inserts, removals, ranges.
use std::collections::BTreeMap;

fn main() {
    let mut seed = 1u32;
    let mut next = || {
        seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
        seed >> 8
    };
    let mut tree = BTreeMap::new();
    let mut sum = 0u64;
    for i in 0..500_000u64 {
        tree.insert(next(), i);
        if i % 3 == 0 {
            let from = next();
            if let Some((&k, &v)) = tree.range(from..).next() {
                tree.remove(&k);
                sum = sum.wrapping_mul(31).wrapping_add(v)
            }
        }
    }
    println!("{} {}", tree.len(), sum)
}
