//! The expanding core of the exact solver: a dynamic program over undominated states.

use std::ops::Range;

use super::Items;
use super::relax::Relaxation;
use crate::sum::prefix_sums;

/// The items on one side of the critical item, in the order in which the core decides them.
struct Side {
    items: Vec<usize>,
    /// Weights and values, `[items]`.
    weights: Vec<f64>,
    values: Vec<f64>,
    /// Prefix sums, `[items + 1]`.
    weight_sums: Vec<f64>,
    value_sums: Vec<f64>,
    /// Number of items decided by the core.
    decided: usize,
}

impl Side {
    fn new(order: Vec<usize>, items: &Items) -> Self {
        let weights: Vec<f64> = order.iter().map(|&item| items.weights()[item]).collect();
        let values: Vec<f64> = order.iter().map(|&item| items.values()[item]).collect();
        let weight_sums = prefix_sums(weights.iter().copied());
        let value_sums = prefix_sums(values.iter().copied());
        Self { items: order, weights, values, weight_sums, value_sums, decided: 0 }
    }

    fn is_decided(&self) -> bool {
        self.decided == self.items.len()
    }

    /// Weight and value of the undecided items among the first `to`.
    fn undecided_sums(&self, to: usize) -> (f64, f64) {
        let of = |sums: &[f64]| sums[to] - sums[self.decided];
        (of(&self.weight_sums), of(&self.value_sums))
    }

    /// The first `to` for which the undecided items before it have a weight with `fits(weight) ==
    /// false`; one past the last index if there is none. `fits` holds for small weights.
    fn first_beyond(&self, fits: impl Fn(f64) -> bool) -> usize {
        let before = self.weight_sums[self.decided];
        let sums = &self.weight_sums[self.decided..];
        self.decided + sums.partition_point(|sum| fits(sum - before))
    }

    /// Value of the fraction `part / weight` of item `k`, at most the whole item: `part` is a
    /// difference of sums, and its rounding error can exceed the smallest weights.
    fn value_of_weight(&self, k: usize, part: f64) -> f64 {
        (part / self.weights[k]).min(1.0) * self.values[k]
    }
}

/// A choice for every decided item; undecided items are as in the relaxation.
#[derive(Clone, Copy)]
struct State {
    weight: f64,
    value: f64,
    /// The last difference from the relaxation, an index into `Core::changes`.
    change: Option<usize>,
}

/// A decided item that differs from the relaxation, and the difference before it.
struct Change {
    item: usize,
    before: Option<usize>,
}

/// Undecided items that complete a state to a solution: more of the sparse items, or fewer of the
/// dense ones.
#[derive(Clone)]
enum Completion {
    Adding(Range<usize>),
    Dropping(Range<usize>),
}

/// The best completion of a state, and its bound.
struct Evaluation {
    /// Value of the completion with whole items.
    value: f64,
    completion: Completion,
    /// Value of the relaxed completion.
    bound: f64,
}

/// The best solution found (the incumbent).
struct Best {
    value: f64,
    change: Option<usize>,
    completion: Completion,
}

/// The state of the search behind [`exact`](super::exact()).
pub(super) struct Core {
    /// Items taken by the relaxation; least dense first.
    dense: Side,
    /// Items not taken; densest first, beginning with the critical item.
    sparse: Side,
    capacity: f64,
    tolerance: f64,
    /// Undominated states: weight and value both rise.
    states: Vec<State>,
    changes: Vec<Change>,
    best: Best,
    /// Largest bound of an abandoned state, and of an open state.
    closed_bound: f64,
    open_bound: f64,
    examined: usize,
}

impl Core {
    /// The core before any decision: the greedy solution alone.
    pub(super) fn new(items: &Items, relaxed: &Relaxation, capacity: f64, tolerance: f64) -> Self {
        // Weightless items are taken already. Dropping an item without weight, or adding one
        // without value, gains nothing.
        let sorted = |filled: bool| {
            let mut side: Vec<usize> = relaxed.order.clone();
            side.retain(|&item| {
                let counts = if filled { items.weights()[item] } else { items.values()[item] };
                relaxed.taken[item] == filled && counts > 0.0
            });
            side.sort_unstable_by(|&a, &b| items.fill_order(a, b));
            side
        };
        let (mut dense, sparse) = (sorted(true), sorted(false));
        dense.reverse();
        let nothing = Completion::Adding(0..0);
        let mut core = Self {
            dense: Side::new(dense, items),
            sparse: Side::new(sparse, items),
            capacity,
            tolerance,
            states: Vec::new(),
            changes: Vec::new(),
            best: Best { value: relaxed.value, change: None, completion: nothing },
            closed_bound: relaxed.value,
            open_bound: f64::NEG_INFINITY,
            examined: 0,
        };
        core.keep(State { weight: relaxed.used, value: relaxed.value, change: None }, None);
        core
    }

    /// Decides items until no state is left or the next step might exceed `limit` examined states.
    pub(super) fn grow(&mut self, limit: usize) {
        while !self.states.is_empty() && self.examined + 2 * self.states.len() <= limit {
            if !self.sparse.is_decided() {
                self.decide(1.0);
            } else if !self.dense.is_decided() {
                self.decide(-1.0);
            } else {
                // Not reached: with all items decided, a state is its own completion and was
                // closed.
                return;
            }
        }
    }

    /// An upper bound on the value of every solution.
    pub(super) fn bound(&self) -> f64 {
        self.closed_bound.max(self.open_bound).max(self.best.value)
    }

    /// Number of states examined so far.
    pub(super) fn examined(&self) -> usize {
        self.examined
    }

    /// Calls `visit` for every item that the best solution and the relaxation choose differently.
    pub(super) fn for_each_change_of_best(&self, mut visit: impl FnMut(usize)) {
        let mut change = self.best.change;
        while let Some(Change { item, before }) = change.and_then(|index| self.changes.get(index)) {
            visit(*item);
            change = *before;
        }
        let undecided = match &self.best.completion {
            Completion::Adding(range) => &self.sparse.items[range.clone()],
            Completion::Dropping(range) => &self.dense.items[range.clone()],
        };
        undecided.iter().for_each(|&item| visit(item));
    }

    /// Decides the next sparse item (`sign` = 1: it may be added) or dense item (−1: dropped).
    ///
    /// Merges the states with and without the change by weight, the more valuable one first among
    /// equal weights, so that a state is undominated iff its value is a new maximum.
    fn decide(&mut self, sign: f64) {
        let side = if sign > 0.0 { &mut self.sparse } else { &mut self.dense };
        let k = side.decided;
        let (item, weight, value) = (side.items[k], sign * side.weights[k], sign * side.values[k]);
        side.decided += 1;

        let states = std::mem::take(&mut self.states);
        self.open_bound = f64::NEG_INFINITY;
        self.examined += 2 * states.len();
        let shifted = |state: &State| State {
            weight: state.weight + weight,
            value: state.value + value,
            change: state.change,
        };
        let mut same = states.iter().copied().peekable();
        let mut changed = states.iter().map(shifted).peekable();
        let mut highest = f64::NEG_INFINITY;
        loop {
            let same_first = match (same.peek(), changed.peek()) {
                (Some(a), Some(b)) => (a.weight, -a.value) <= (b.weight, -b.value),
                (a, _) => a.is_some(),
            };
            let next = if same_first { same.next() } else { changed.next() };
            let Some(state) = next else { break };
            if state.value > highest {
                highest = state.value;
                self.keep(state, (!same_first).then_some(item));
            }
        }
    }

    /// Keeps a state, reached by changing `item`, if it can still beat the best solution. Records
    /// its completion if that beats it already.
    fn keep(&mut self, mut state: State, item: Option<usize>) {
        let Some(evaluation) = self.evaluate(&state) else { return };
        let improves = evaluation.value > self.best.value;
        let level = self.best.value.max(evaluation.value) + self.tolerance;
        let open = evaluation.bound > level;
        if let Some(item) = item.filter(|_| improves || open) {
            self.changes.push(Change { item, before: state.change });
            state.change = Some(self.changes.len() - 1);
        }
        if improves {
            let Evaluation { value, completion, .. } = evaluation;
            self.best = Best { value, change: state.change, completion };
        }
        if open {
            self.open_bound = self.open_bound.max(evaluation.bound);
            self.states.push(state);
        } else {
            self.closed_bound = self.closed_bound.max(evaluation.bound);
        }
    }

    /// The relaxation of the undecided items, given a state. `None` if the state cannot be made to
    /// fit.
    fn evaluate(&self, state: &State) -> Option<Evaluation> {
        let room = self.capacity - state.weight;
        if room >= 0.0 {
            Some(self.relax_by_adding(state, room))
        } else {
            self.relax_by_dropping(state, -room)
        }
    }

    /// Adds sparse items while they fit, and a fraction of the next one.
    fn relax_by_adding(&self, state: &State, room: f64) -> Evaluation {
        let side = &self.sparse;
        let to = side.first_beyond(|weight| weight <= room) - 1;
        let (weight, value) = side.undecided_sums(to);
        let value = state.value + value;
        let part =
            if to < side.items.len() { side.value_of_weight(to, room - weight) } else { 0.0 };
        Evaluation { value, completion: Completion::Adding(side.decided..to), bound: value + part }
    }

    /// Drops dense items until the rest fits, and takes a fraction of the last one back.
    fn relax_by_dropping(&self, state: &State, excess: f64) -> Option<Evaluation> {
        let side = &self.dense;
        let to = side.first_beyond(|weight| weight < excess);
        if to > side.items.len() {
            return None;
        }
        let (weight, value) = side.undecided_sums(to);
        let value = state.value - value;
        // `excess` is positive, so at least one item is dropped.
        let part = side.value_of_weight(to - 1, weight - excess);
        let completion = Completion::Dropping(side.decided..to);
        Some(Evaluation { value, completion, bound: value + part })
    }
}
