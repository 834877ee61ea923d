// The library's two sorts, on texts and on numbers.
fn main() {
    let mut seed = 1u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut numbers: Vec<u64> = (0..2_000_000).map(|_| next()).collect();
    let mut texts: Vec<String> = (0..120_000).map(|_| format!("{:x}", next() % 1_000_003)).collect();
    numbers.sort_unstable();
    texts.sort();
    assert!(numbers.windows(2).all(|w| w[0] <= w[1]) && texts.windows(2).all(|w| w[0] <= w[1]));
    println!("{} {}", numbers[1_000_000], texts[60_000])
}
