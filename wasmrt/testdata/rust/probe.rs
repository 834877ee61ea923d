// Probe is a test guest: its first argument says what to do.
use std::collections::HashMap;
use std::io::{Read, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[inline(never)]
fn recurse(n: u64) -> u64 {
    let mut pad = [0u8; 1024];
    pad[(n % 1024) as usize] = n as u8;
    let byte = unsafe { std::ptr::read_volatile(&pad[(n % 7) as usize]) };
    recurse(n + 1) + byte as u64
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.len() < 2 {
        if std::env::var("GATEWAY_INTERFACE").is_ok() {
            let path = std::env::var("PATH_INFO").unwrap_or_default();
            print!("Content-Type: text/plain\n\nhello from Rust: {}\n", path);
        }
        return;
    }
    let arg = args[2..].join(" ");
    match args[1].as_str() {
        "args" => args.iter().for_each(|a| println!("{}", a)),
        "file" => print!("{}", std::fs::read_to_string(&arg).unwrap()),
        "env" => println!("{}", std::env::var(&arg).unwrap_or_default()),
        "cat" => {
            let mut all = Vec::new();
            std::io::stdin().read_to_end(&mut all).unwrap();
            std::io::stdout().write_all(&all).unwrap();
        }
        "err" => eprintln!("{}", arg),
        "exit" => std::process::exit(arg.parse().unwrap()),
        "spin" => {
            println!("spinning");
            let mut n = 0u64;
            loop {
                unsafe { std::ptr::write_volatile(&mut n, n + 1) };
            }
        }
        "sleep" => {
            println!("sleeping");
            let start = Instant::now();
            std::thread::sleep(Duration::from_millis(arg.parse().unwrap()));
            println!("{}", start.elapsed().as_millis());
        }
        "trap" => panic!("asked to"),
        "grow" => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop {
                all.push(vec![1; 1 << 20]);
                println!("{}", all.len());
            }
        }
        "clock" => println!("{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()),
        "random" => {
            // A map's seed comes from the system's randomness.
            use std::hash::{BuildHasher, Hasher};
            let m: HashMap<u8, u8> = HashMap::new();
            let a = m.hasher().build_hasher().finish();
            println!("{:016x}{:016x}", a, a.rotate_left(7));
        }
        "recurse" => println!("{}", recurse(1)),
        _ => {}
    }
}
