// Counts words with the library's hash map and sorts what it found.
use std::collections::hash_map::DefaultHasher;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

fn main() {
    let mut seed = 1u32;
    let mut text = String::new();
    for _ in 0..900_000 {
        seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
        let n = (seed >> 16) % 9973;
        text.push_str(&(n * n % 3001).to_string());
        text.push(' ')
    }
    let mut count: HashMap<&str, u32, BuildHasherDefault<DefaultHasher>> = HashMap::default();
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        *count.entry(word).or_insert(0) += 1
    }
    let mut all: Vec<(&str, u32)> = count.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    println!("{} words, most often {} ({})", all.len(), all[0].0, all[0].1)
}
