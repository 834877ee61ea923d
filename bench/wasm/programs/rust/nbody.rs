// Planets that pull at each other, in doubles.
#[derive(Clone, Copy)]
struct Body {
    p: [f64; 3],
    v: [f64; 3],
    mass: f64,
}

fn energy(b: &[Body]) -> f64 {
    let mut e = 0.0;
    for i in 0..b.len() {
        e += 0.5 * b[i].mass * b[i].v.iter().map(|x| x * x).sum::<f64>();
        for j in i + 1..b.len() {
            let d: f64 = (0..3).map(|k| (b[i].p[k] - b[j].p[k]).powi(2)).sum();
            e -= b[i].mass * b[j].mass / d.sqrt()
        }
    }
    e
}

fn step(b: &mut [Body], dt: f64) {
    for i in 0..b.len() {
        for j in i + 1..b.len() {
            let d = [b[i].p[0] - b[j].p[0], b[i].p[1] - b[j].p[1], b[i].p[2] - b[j].p[2]];
            let r = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
            let m = dt / (r * r.sqrt());
            let (mi, mj) = (b[i].mass * m, b[j].mass * m);
            for k in 0..3 {
                b[i].v[k] -= d[k] * mj;
                b[j].v[k] += d[k] * mi
            }
        }
    }
    for x in b.iter_mut() {
        for k in 0..3 {
            x.p[k] += dt * x.v[k]
        }
    }
}

fn main() {
    let mut bodies: Vec<Body> = (0..5)
        .map(|i| {
            let t = i as f64;
            Body { p: [t * 3.0, t * t, 1.0 - t], v: [0.1 * t, -0.2, 0.05 * t], mass: if i == 0 { 39.0 } else { 0.01 * t } }
        })
        .collect();
    for _ in 0..2_500_000 {
        step(&mut bodies, 0.001)
    }
    println!("{:.9}", energy(&bodies))
}
