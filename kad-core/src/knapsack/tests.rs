use super::*;
use crate::law::Law;
use std::time::Instant;

struct Lcg(u64);
impl Lcg {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
fn law(w: Vec<f64>) -> Law {
    let t: f64 = w.iter().sum();
    Law::from_probs(w.iter().map(|x| x / t).collect()).unwrap()
}

#[test]
#[ignore]
fn measure() {
    let mut rng = Lcg(1);
    for n in [100, 1000, 151_936] {
        for (name, kind) in [
            ("softmax N(0,1)", 0),
            ("softmax N(0,2.5)", 1),
            ("softmax N(0,4)", 2),
            ("zipf 1", 3),
            ("zipf 2", 4),
            ("zipf 1 noisy", 5),
        ] {
            for b in [0.05, 0.2, 0.4, 0.7] {
                let w: Vec<f64> = (0..n)
                    .map(|i| match kind {
                        0 => rng.normal().exp(),
                        1 => (2.5 * rng.normal()).exp(),
                        2 => (4.0 * rng.normal()).exp(),
                        3 => 1.0 / (i as f64 + 1.0),
                        4 => (i as f64 + 1.0).powi(-2),
                        _ => (0.5 * rng.normal()).exp() / (i as f64 + 1.0),
                    })
                    .collect();
                let items = Items::surprisal(&law(w));
                let t = Instant::now();
                let r = relax(&items, b);
                let tr = t.elapsed();
                let t = Instant::now();
                let e = exact(&items, b, &ExactLimits { states: 1 << 24, tolerance: 1e-9 });
                eprintln!(
                    "{n} {name} b={b}: relax {tr:?} exact {:?} G {:.6} LP {:.6} opt {:.9} bound-val {:.2e} proved {} states {}",
                    t.elapsed(),
                    r.value,
                    r.bound,
                    e.value,
                    e.bound - e.value,
                    e.proved,
                    e.states
                );
            }
        }
    }
}
