// A guest with state: what its initialisation made, and what calls change.
use std::collections::BTreeMap;

static mut COUNTER: i64 = 0;
static mut WORDS: Option<BTreeMap<String, i64>> = None;

#[no_mangle]
pub extern "C" fn _initialize() {
    let mut words = BTreeMap::new();
    for n in 0..1000 {
        words.insert(n.to_string(), n);
    }
    unsafe { WORDS = Some(words) }
}

#[no_mangle]
pub extern "C" fn add(n: i64) -> i64 {
    unsafe {
        COUNTER += n;
        COUNTER
    }
}

#[no_mangle]
pub extern "C" fn word(n: i64) -> i64 {
    unsafe {
        match &WORDS {
            Some(words) => *words.get(&n.to_string()).unwrap_or(&-1),
            None => -2,
        }
    }
}
