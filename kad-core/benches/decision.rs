use kad_core::{Law, Sampling, deferral::*, mixture::mix};
use std::hint::black_box;
use std::time::Instant;
fn main() {
    for v in [32_000usize, 50_257, 151_936] {
        let mut x = 12345u64;
        let mut u = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 11) as f64 / (1u64 << 53) as f64
        };
        let flat: Vec<f32> = (0..v).map(|_| (1.0 + 0.1 * u()).ln() as f32).collect();
        let zipf: Vec<f32> =
            (0..v).map(|i| (-((i as f64 * 7919.0) % v as f64 + 1.0).ln()) as f32).collect();
        let mut peak: Vec<f32> = (0..v).map(|_| (u().ln()) as f32).collect();
        let s: f64 = peak.iter().map(|&l| (l as f64).exp()).sum();
        peak[v / 3] = (9.0 * s).ln() as f32;
        for (name, logits) in [("flat", flat), ("zipf", zipf), ("peak", peak)] {
            let t = |f: &mut dyn FnMut()| {
                (0..40)
                    .map(|_| {
                        let t = Instant::now();
                        f();
                        t.elapsed().as_secs_f64() * 1e6
                    })
                    .fold(f64::INFINITY, f64::min)
            };
            let s = Sampling::at_temperature(1.0).unwrap();
            let mut law = Law::default();
            let soft = t(&mut || s.law(black_box(&logits), &[], &mut law).unwrap());
            let s7 = Sampling::at_temperature(0.7).unwrap();
            let soft7 = t(&mut || s7.law(black_box(&logits), &[], &mut law).unwrap());
            s.law(&logits, &[], &mut law).unwrap();
            let mut d = Deferral::default();
            let rule = KadPrimal::new(0.4).unwrap();
            let p = t(&mut || rule.decide(black_box(&law), &mut d));
            let rule = KadDual::new(0.4).unwrap();
            let du = t(&mut || rule.decide(black_box(&law), &mut d));
            let rule = Nudging::new(0.4).unwrap();
            let nu = t(&mut || rule.decide(black_box(&law), &mut d));
            let mut out = Law::default();
            let m = t(&mut || {
                mix(&law, &law, &d, &mut out);
            });
            println!(
                "{v:7} {name} softmax {soft:.1} T=.7 {soft7:.1} primal {p:.1} dual {du:.1} nudging {nu:.1} mix {m:.1}"
            );
        }
    }
}
