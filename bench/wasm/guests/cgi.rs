// A CGI program that tells what it was asked for.
use std::env::var;

fn main() {
    let (method, path) = (var("REQUEST_METHOD").unwrap_or_default(), var("PATH_INFO").unwrap_or_default());
    print!("Content-Type: text/plain\r\n\r\n{} {}\n", method, path)
}
