//! The exact optimum: a dynamic program over a core that grows from the critical item.

use super::relax::{Relaxation, relax};
use super::sum::{pairwise, prefixes};
use super::{Items, at_least_zero, capacity};

/// When [`exact`] may stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExactLimits {
    /// Most states to look at, added up over all steps of the core. Default 2^20.
    pub states: usize,
    /// How far below the optimum a proved solution may be, in the unit of the values (nats).
    /// Negative or NaN counts as 0. Default 1e-9.
    pub tolerance: f64,
}

impl Default for ExactLimits {
    fn default() -> Self {
        Self { states: 1 << 20, tolerance: 1e-9 }
    }
}

/// The best solution that [`exact`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exact {
    /// Whether the item is taken, `[items]`.
    pub taken: Vec<bool>,
    /// Weight used, `Σ w` over what is taken.
    pub used: f64,
    /// Value, `Σ v` over what is taken.
    pub value: f64,
    /// An upper bound on the value of every solution, proved or not.
    pub bound: f64,
    /// Whether `bound − value` is within the tolerance.
    pub proved: bool,
    /// States looked at.
    pub states: usize,
}

/// doc
pub fn exact(items: &Items, budget: f64, limits: &ExactLimits) -> Exact {
    let relaxed = relax(items, budget);
    let mut search = Search::new(items, &relaxed, capacity(budget), limits);
    search.run();
    search.finish(items, relaxed.taken)
}

/// The items on one side of the critical one, in the order in which the core takes them in.
struct Side {
    items: Vec<usize>,
    weights: Vec<f64>,
    values: Vec<f64>,
    /// Sums over the first `k` items, `[items + 1]`.
    weight_sums: Vec<f64>,
    value_sums: Vec<f64>,
}

impl Side {
    fn new(order: impl Iterator<Item = usize>, items: &Items) -> Self {
        let order: Vec<usize> = order.collect();
        let weights: Vec<f64> = order.iter().map(|&item| items.weights()[item]).collect();
        let values: Vec<f64> = order.iter().map(|&item| items.values()[item]).collect();
        let weight_sums = prefixes(weights.iter().copied());
        let value_sums = prefixes(values.iter().copied());
        Self { items: order, weights, values, weight_sums, value_sums }
    }

    fn len(&self) -> usize {
        self.items.len()
    }
}

/// A choice for every item of the core; outside it what the relaxation says.
#[derive(Clone, Copy)]
struct State {
    weight: f64,
    value: f64,
    /// The last change that led here, in `Search::changes`.
    change: usize,
}

/// One item whose choice differs from the relaxation's.
struct Change {
    item: usize,
    before: usize,
}

/// A state and how it goes on: items `from..to` of a side are changed, too.
#[derive(Clone, Copy)]
struct Found {
    value: f64,
    change: usize,
    completion: Completion,
}

#[derive(Clone, Copy)]
enum Completion {
    Add { from: usize, to: usize },
    Drop { from: usize, to: usize },
}

const NO_CHANGE: usize = usize::MAX;

struct Search {
    dense: Side,
    sparse: Side,
    dropped: usize,
    added: usize,
    capacity: f64,
    tolerance: f64,
    limit: usize,
    states: Vec<State>,
    spare: Vec<State>,
    changes: Vec<Change>,
    best: Found,
    /// The largest bound of a state that was given up, and of those still there.
    closed_bound: f64,
    open_bound: f64,
    examined: usize,
    pub peak: usize,
}

impl Search {
    fn new(items: &Items, relaxed: &Relaxation, capacity: f64, limits: &ExactLimits) -> Self {
        let fill = |a: &usize, b: &usize| items.fill_order(*a, *b);
        let split = relaxed.taken.iter().filter(|&&taken| taken).count();
        let (filled, rest) = relaxed.order.split_at(split);
        let mut dense: Vec<usize> = filled.to_vec();
        dense.retain(|&item| items.weights()[item] > 0.0);
        let mut sparse: Vec<usize> = rest.to_vec();
        sparse.retain(|&item| items.values()[item] > 0.0);
        dense.sort_unstable_by(fill);
        sparse.sort_unstable_by(fill);
        let start = State { weight: relaxed.used, value: relaxed.value, change: NO_CHANGE };
        Self {
            dense: Side::new(dense.into_iter().rev(), items),
            sparse: Side::new(sparse.into_iter(), items),
            dropped: 0,
            added: 0,
            capacity,
            tolerance: at_least_zero(limits.tolerance),
            limit: limits.states,
            states: vec![start],
            spare: Vec::new(),
            changes: Vec::new(),
            best: Found {
                value: relaxed.value,
                change: NO_CHANGE,
                completion: Completion::Add { from: 0, to: 0 },
            },
            closed_bound: relaxed.value,
            open_bound: relaxed.bound,
            examined: 0,
            peak: 0,
        }
    }

    fn run(&mut self) {
        let mut right = true;
        while !self.states.is_empty() {
            if self.examined + 2 * self.states.len() > self.limit {
                return;
            }
            let can_add = self.added < self.sparse.len();
            let can_drop = self.dropped < self.dense.len();
            if !can_add && !can_drop {
                // every item is decided
                self.examined += self.states.len();
                self.open_bound = f64::NEG_INFINITY;
                self.states.clear();
                return;
            }
            if can_add && (right || !can_drop) {
                let (k, n) = (self.added, 1);
                self.added += n;
                self.step(self.sparse.items[k], self.sparse.weights[k], self.sparse.values[k]);
            } else {
                let k = self.dropped;
                self.dropped += 1;
                self.step(self.dense.items[k], -self.dense.weights[k], -self.dense.values[k]);
            }
            right = !right;
            self.peak = self.peak.max(self.states.len());
        }
        self.open_bound = f64::NEG_INFINITY;
    }

    fn step(&mut self, item: usize, weight: f64, value: f64) {
        let states = std::mem::take(&mut self.states);
        let mut kept = std::mem::take(&mut self.spare);
        kept.clear();
        self.open_bound = f64::NEG_INFINITY;
        let (mut same, mut changed) = (0, 0);
        let mut highest = f64::NEG_INFINITY;
        while same < states.len() || changed < states.len() {
            let a = states.get(same);
            let b = states.get(changed).map(|s| State {
                weight: s.weight + weight,
                value: s.value + value,
                change: s.change,
            });
            let take_same = match (a, &b) {
                (Some(a), Some(b)) => {
                    a.weight < b.weight || (a.weight == b.weight && a.value >= b.value)
                }
                (a, _) => a.is_some(),
            };
            let mut state = if take_same {
                same += 1;
                *a.unwrap()
            } else {
                changed += 1;
                b.unwrap()
            };
            self.examined += 1;
            if state.value <= highest {
                continue;
            }
            highest = state.value;
            let Some(bound) = self.bound(&state, if take_same { None } else { Some(item) }) else {
                continue;
            };
            if bound <= self.best.value + self.tolerance {
                self.closed_bound = self.closed_bound.max(bound);
                continue;
            }
            self.open_bound = self.open_bound.max(bound);
            if !take_same {
                self.changes.push(Change { item, before: state.change });
                state.change = self.changes.len() - 1;
            }
            kept.push(state);
        }
        self.states = kept;
        self.spare = states;
    }

    fn bound(&mut self, state: &State, item: Option<usize>) -> Option<f64> {
        let room = self.capacity - state.weight;
        let (value, bound, completion) = if room >= 0.0 {
            let side = &self.sparse;
            let base = side.weight_sums[self.added];
            let to = self.added
                + side.weight_sums[self.added + 1..].partition_point(|&s| s - base <= room);
            let value = state.value + (side.value_sums[to] - side.value_sums[self.added]);
            let left = room - (side.weight_sums[to] - base);
            let part =
                if to < side.len() { left / side.weights[to] * side.values[to] } else { 0.0 };
            (value, value + part, Completion::Add { from: self.added, to })
        } else {
            let side = &self.dense;
            let base = side.weight_sums[self.dropped];
            let to = self.dropped
                + side.weight_sums[self.dropped..].partition_point(|&s| s - base < -room);
            if to > side.len() {
                return None;
            }
            let value = state.value - (side.value_sums[to] - side.value_sums[self.dropped]);
            // to > dropped since -room > 0
            let over = (side.weight_sums[to] - base) + room;
            let part = over / side.weights[to - 1] * side.values[to - 1];
            (value, value + part, Completion::Drop { from: self.dropped, to })
        };
        if value > self.best.value {
            let change = match item {
                Some(item) => {
                    self.changes.push(Change { item, before: state.change });
                    self.changes.len() - 1
                }
                None => state.change,
            };
            self.best = Found { value, change, completion };
        }
        Some(bound)
    }

    fn finish(self, items: &Items, mut taken: Vec<bool>) -> Exact {
        let mut change = self.best.change;
        while let Some(c) = self.changes.get(change) {
            taken[c.item] = !taken[c.item];
            change = c.before;
        }
        let (side, from, to) = match self.best.completion {
            Completion::Add { from, to } => (&self.sparse, from, to),
            Completion::Drop { from, to } => (&self.dense, from, to),
        };
        side.items[from..to].iter().for_each(|&i| taken[i] = !taken[i]);
        let sum = |b: &[f64]| pairwise(b.len(), |i| if taken[i] { b[i] } else { 0.0 });
        let (used, value) = (sum(items.weights()), sum(items.values()));
        let bound = self.closed_bound.max(self.open_bound).max(value);
        eprintln!(
            "steps -{} +{} examined {} peak {} changes {} ",
            self.dropped,
            self.added,
            self.examined,
            self.peak,
            self.changes.len()
        );
        Exact {
            taken,
            used,
            value,
            bound,
            proved: bound - value <= self.tolerance,
            states: self.examined,
        }
    }
}
