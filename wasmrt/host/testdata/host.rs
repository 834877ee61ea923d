// Host is a test guest: its arguments are calls of the functions of dhow:host.
#[link(wasm_import_module = "dhow:host")]
extern "C" {
    fn log(level: i32, text: *const u8, len: usize) -> i32;
    fn last_error(buf: *mut u8, len: usize) -> i32;
    fn config_get(name: *const u8, name_len: usize, buf: *mut u8, len: usize) -> i32;
    fn secret_get(name: *const u8, name_len: usize, buf: *mut u8, len: usize) -> i32;
    fn kv_get(key: *const u8, key_len: usize, buf: *mut u8, len: usize) -> i32;
    fn kv_set(key: *const u8, key_len: usize, value: *const u8, len: usize) -> i32;
    fn kv_delete(key: *const u8, key_len: usize) -> i32;
    fn kv_list(prefix: *const u8, prefix_len: usize, after: *const u8, after_len: usize, buf: *mut u8, len: usize) -> i32;
    fn kv_add(key: *const u8, key_len: usize, delta: i64, sum: *mut i64) -> i32;
    fn http_send(head: *const u8, head_len: usize, body: *const u8, len: usize) -> i32;
    fn http_status(result: i32) -> i32;
    fn http_header(result: i32, name: *const u8, name_len: usize, buf: *mut u8, len: usize) -> i32;
    fn invoke(name: *const u8, name_len: usize, input: *const u8, len: usize) -> i32;
    fn result_size(result: i32) -> i32;
    fn result_read(result: i32, buf: *mut u8, len: usize) -> i32;
    fn result_close(result: i32) -> i32;
}

/// fill calls f with a buffer that is large enough for what it has to say.
fn fill(f: impl Fn(*mut u8, usize) -> i32) -> Result<String, i32> {
    let mut buf = vec![0u8; 8];
    loop {
        let n = f(buf.as_mut_ptr(), buf.len());
        if n < 0 {
            return Err(n);
        }
        if n as usize <= buf.len() {
            buf.truncate(n as usize);
            return Ok(String::from_utf8(buf).unwrap());
        }
        buf.resize(n as usize, 0);
    }
}

fn failed(n: i32) -> String {
    let text = fill(|p, len| unsafe { last_error(p, len) }).unwrap();
    format!("{} {}", n, text)
}

fn show(r: Result<String, i32>) {
    println!("{}", r.unwrap_or_else(failed));
}

fn done(n: i32) {
    show(if n < 0 { Err(n) } else { Ok(String::new()) });
}

fn result(r: i32) -> String {
    if r < 0 {
        return failed(r);
    }
    let mut all = Vec::new();
    let size = unsafe { result_size(r) };
    let mut buf = [0u8; 16];
    loop {
        let n = unsafe { result_read(r, buf.as_mut_ptr(), buf.len()) };
        if n <= 0 {
            break;
        }
        all.extend_from_slice(&buf[..n as usize]);
    }
    unsafe { result_close(r) };
    format!("{}:{}", size, String::from_utf8(all).unwrap())
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    for a in args.chunks(3) {
        let (x, y) = (a[1].as_str(), a[2].as_str());
        let (xp, xl, yp, yl) = (x.as_ptr(), x.len(), y.as_ptr(), y.len());
        unsafe {
            match a[0].as_str() {
                "log" => done(log(x.parse().unwrap(), yp, yl)),
                "config" => show(fill(|p, n| config_get(xp, xl, p, n))),
                "secret" => show(fill(|p, n| secret_get(xp, xl, p, n))),
                "get" => show(fill(|p, n| kv_get(xp, xl, p, n))),
                "set" => done(kv_set(xp, xl, yp, yl)),
                "delete" => done(kv_delete(xp, xl)),
                "list" => show(fill(|p, n| kv_list(xp, xl, yp, yl, p, n))),
                "add" => {
                    let mut sum = 0i64;
                    let e = kv_add(xp, xl, y.parse().unwrap(), &mut sum);
                    show(if e < 0 { Err(e) } else { Ok(sum.to_string()) });
                }
                "http" => {
                    let r = http_send(xp, xl, yp, yl);
                    if r > 0 {
                        let name = "content-type";
                        let kind = fill(|p, n| http_header(r, name.as_ptr(), name.len(), p, n)).unwrap_or_default();
                        print!("{} {} ", http_status(r), kind);
                    }
                    println!("{}", result(r));
                }
                "invoke" => println!("{}", result(invoke(xp, xl, yp, yl))),
                _ => std::process::exit(2),
            }
        }
    }
}
