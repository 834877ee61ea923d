// A plugin in Rust, by the interface alone: no kit and no crates.

#[link(wasm_import_module = "extism:host/env")]
extern "C" {
    fn input_length() -> u64;
    fn input_load_u8(at: u64) -> u32;
    fn input_load_u64(at: u64) -> u64;
    fn alloc(n: u64) -> u64;
    fn store_u8(at: u64, value: u32);
    fn store_u64(at: u64, value: u64);
    fn output_set(at: u64, n: u64);
    fn error_set(handle: u64);
}

fn input() -> Vec<u8> {
    let n = unsafe { input_length() };
    let mut b = Vec::with_capacity(n as usize);
    let mut at = 0;
    while at + 8 <= n {
        b.extend_from_slice(&unsafe { input_load_u64(at) }.to_le_bytes());
        at += 8;
    }
    while at < n {
        b.push(unsafe { input_load_u8(at) } as u8);
        at += 1;
    }
    b
}

fn give(b: &[u8]) -> u64 {
    let to = unsafe { alloc(b.len() as u64) };
    let mut at = to;
    let mut chunks = b.chunks_exact(8);
    for c in &mut chunks {
        let mut eight = [0u8; 8];
        eight.copy_from_slice(c);
        unsafe { store_u64(at, u64::from_le_bytes(eight)) };
        at += 8;
    }
    for c in chunks.remainder() {
        unsafe { store_u8(at, *c as u32) };
        at += 1;
    }
    to
}

#[no_mangle]
pub extern "C" fn echo() -> i32 {
    let b = input();
    unsafe { output_set(give(&b), b.len() as u64) };
    0
}

#[no_mangle]
pub extern "C" fn fail() -> i32 {
    unsafe { error_set(give(&input())) };
    3
}
