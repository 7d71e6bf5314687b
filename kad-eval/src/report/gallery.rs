//! Charts of made-up numbers to look at: few and many of everything.
//!
//! `KAD_SAMPLE=page.html cargo test gallery -- --ignored`

use kad_polybasic::theory::{PassTime, PassTimes};
use serde::Serialize;

use super::lengths::{ChainLengths, LevelLengths, lengths};
use super::page::{self, Figure};
use super::predicted::{Comparison, predicted};
use super::times::{TimeBar, times};
use super::widths::{WidthCurve, widths};
use crate::analysis::stats::Interval;

const PAGE: &str = r#"<!DOCTYPE html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Charts</title>
<style>{% include "style.css" %}</style><body>
{% for figure in figures %}{% include "figure.html" %}{% endfor %}</body></html>"#;

const MODELS: [&str; 4] = ["large", "middle, quantised to four bits", "small", "tiny"];

/// The `index`-th of several decoders: a plain one, then chains of more and more levels.
fn name(index: usize) -> String {
    match index {
        0 => "large".to_owned(),
        _ => {
            let levels: Vec<&str> = MODELS[..1 + index.div_ceil(4)].to_vec();
            format!("chain {}, length {index}", levels.join(" ← "))
        }
    }
}

fn around(seconds: f64) -> Interval {
    Interval { low: 0.96 * seconds, high: 1.05 * seconds }
}

fn bar(index: usize) -> TimeBar {
    let total = 0.0221 * (1.0 - 0.045 * index as f64);
    let levels = 1 + index.div_ceil(4);
    let shares = [0.55, 0.25, 0.12, 0.03];
    let passes = match index {
        0 => vec![("large".to_owned(), 0.97 * total)],
        _ => (0..levels).map(|l| (MODELS[l].to_owned(), shares[l] * total)).collect(),
    };
    TimeBar { decoder: name(index), total, interval: Some(around(total)), passes }
}

fn chain(index: usize) -> ChainLengths {
    let level = |level: usize| {
        let longest = index + 2 + 3 * level;
        let counts = (0..=longest).map(|k| (400.0 * 0.8_f64.powi(k as i32)) as u64);
        let counts = counts.map(|count| count + 1).collect();
        let title = format!("{} verifies {}", MODELS[level], MODELS[level + 1]);
        LevelLengths { title, counts }
    };
    ChainLengths {
        decoder: name(index),
        levels: (0..index.div_ceil(4).clamp(1, 3)).map(level).collect(),
    }
}

fn comparison(index: usize) -> Comparison {
    let predicted = bar(index).total;
    let measured = predicted * (1.0 + 0.04 * ((index * 5 % 7) as f64 - 2.0));
    Comparison {
        decoder: name(index),
        predicted,
        predicted_interval: around(predicted),
        measured,
        measured_interval: around(measured),
        lemma: (index > 0).then_some(predicted * (1.0 - 0.012 * index as f64)),
    }
}

fn curve(index: usize) -> WidthCurve {
    let width = [1, 2, 3, 4, 6, 8, 12, 16, 32];
    let single = 0.022 / (1 + index) as f64;
    let cell = |width: &usize| {
        let seconds = single * (1.0 + (0.02 + 0.03 * index as f64) * (*width - 1) as f64);
        PassTime { seconds, standard_error: 0.02 * seconds }
    };
    let times =
        PassTimes::new(width.to_vec(), vec![256], vec![width.iter().map(cell).collect()]).unwrap();
    WidthCurve::of(&format!("model {index}"), &times, 256).unwrap()
}

#[derive(Serialize)]
struct Page {
    figures: Vec<Figure>,
}

#[test]
#[ignore = "for looking at the charts"]
fn gallery() {
    let path = std::env::var_os("KAD_SAMPLE").unwrap();
    let mut figures = Vec::new();
    for count in [1, 3, 12] {
        let bars: Vec<TimeBar> = (0..count).map(bar).collect();
        let chains: Vec<ChainLengths> = (1..=count).map(chain).collect();
        let comparisons: Vec<Comparison> = (0..count).map(comparison).collect();
        let curves: Vec<WidthCurve> = (0..count).map(curve).collect();
        let charts = [times(&bars), lengths(&chains), predicted(&comparisons), widths(&curves)];
        for chart in charts {
            let caption = format!("{count} decoders");
            figures.extend(Figure::of(chart.unwrap(), caption, "a chart".to_owned()));
        }
    }
    std::fs::write(path, page::render(PAGE, Page { figures }).unwrap()).unwrap();
}
