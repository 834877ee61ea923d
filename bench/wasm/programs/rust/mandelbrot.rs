// How long the points of a part of the plane stay near.
fn main() {
    let (width, height, most) = (1200, 900, 240);
    let mut sum = 0u64;
    for y in 0..height {
        let b = y as f64 * 2.4 / height as f64 - 1.2;
        for x in 0..width {
            let a = x as f64 * 3.2 / width as f64 - 2.2;
            let (mut r, mut i, mut n) = (0.0, 0.0, 0u64);
            while n < most && r * r + i * i < 4.0 {
                let t = r * r - i * i + a;
                i = 2.0 * r * i + b;
                r = t;
                n += 1
            }
            sum += n
        }
    }
    println!("{}", sum)
}
