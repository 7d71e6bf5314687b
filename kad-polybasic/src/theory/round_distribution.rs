//! The distribution of a round, level by level from the bottom: tokens handed on, and cost.

use super::chain::Proposer;

/// The distribution of the rounds of one level. Rounds are independent given the number of tokens
/// kept from the round before. Only a level that keeps its surplus has more than one such state.
#[derive(Clone, Debug)]
pub(super) struct RoundDistributions {
    /// One distribution per number of kept tokens.
    pub(super) starts: Vec<RoundDistribution>,
    /// Extra seconds of a round's first pass if it is one token wider, as it is after a bonus token
    /// of the level above.
    pub(super) catch_up: f64,
}

/// The distribution of a round that starts with a given number of kept tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundDistribution {
    /// `outcome[kept][emitted]`: joint probabilities.
    pub(super) outcome: Vec<Vec<f64>>,
    /// Probability of each number of accepted tokens. Empty for a draft.
    pub(super) accepted: Vec<f64>,
    /// Expected rounds of the level below, by their kept tokens. Empty for a draft.
    pub(super) below: Vec<f64>,
    /// Probability of a bonus token at the end.
    pub(super) bonus: f64,
    /// Expected seconds of this level's own pass; for a draft, of all its passes.
    pub(super) pass_seconds: f64,
    /// Expected seconds in total: passes, overhead, levels below.
    pub(super) seconds: f64,
}

impl RoundDistribution {
    /// Expected tokens handed on.
    pub(super) fn tokens(&self) -> f64 {
        self.outcome.iter().map(|row| mean(row)).sum()
    }
}

/// `Σ k pmf[k]`.
pub(super) fn mean(pmf: &[f64]) -> f64 {
    pmf.iter().enumerate().map(|(k, p)| k as f64 * p).sum()
}

/// The distribution of drafts of up to `length` tokens. `proposed[k]` = P(at least k proposed).
/// `pass[w]` = the drafter's seconds by width, if it is a model.
pub(super) fn draft(
    proposer: &Proposer,
    length: usize,
    proposed: &[f64],
    pass: &[f64],
) -> RoundDistributions {
    let at_least = |k: usize| if k <= length { proposed[k] } else { 0.0 };
    let distribution: Vec<f64> = (0..=length).map(|k| at_least(k) - at_least(k + 1)).collect();
    let tokens = mean(&distribution);
    let (pass_seconds, overhead, catch_up) = match proposer {
        Proposer::Model { overhead, .. } => {
            let wider = (pass[2] - pass[1]).max(0.0);
            (tokens * pass[1], tokens * overhead, wider * at_least(1))
        }
        Proposer::Lookup { draft_seconds, token_seconds, .. } => {
            (draft_seconds + tokens * token_seconds, 0.0, 0.0)
        }
        Proposer::Tree { draft_seconds, .. } => (*draft_seconds, 0.0, 0.0),
    };
    let seconds = pass_seconds + overhead;
    let start = RoundDistribution {
        outcome: vec![distribution],
        pass_seconds,
        seconds,
        ..RoundDistribution::default()
    };
    RoundDistributions { starts: vec![start], catch_up }
}

/// One verifying level with its tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct VerifierStep<'a> {
    pub(super) length: usize,
    pub(super) bonus: bool,
    pub(super) keep: bool,
    /// `survival[k]` = P(N ≥ k), up to the largest buffer.
    pub(super) survival: &'a [f64],
    /// Seconds by width, up to the largest buffer and two more tokens.
    pub(super) pass: &'a [f64],
    /// Overhead, in seconds per round.
    pub(super) overhead: f64,
    /// The width of every buffer, for trees.
    pub(super) nodes: Option<usize>,
}

/// The largest buffer of a level with this length, if the level below hands on at most `emitted`
/// tokens per round.
pub(super) fn largest_buffer(length: usize, emitted: usize) -> usize {
    length - 1 + emitted
}

impl VerifierStep<'_> {
    /// The rounds of the lowest verifier, each over one draft.
    pub(super) fn over_draft(&self, draft: &RoundDistributions) -> RoundDistributions {
        let buffer = draft.starts[0].outcome[0].clone();
        let start = self.verify(&buffer, vec![1.0], draft);
        let catch_up = self.catch_up(&buffer);
        RoundDistributions { starts: vec![start], catch_up }
    }

    /// The rounds of a verifier above another one, each over as many rounds of the level below as
    /// its length takes.
    pub(super) fn over_rounds(&self, below: &RoundDistributions) -> RoundDistributions {
        let rows = below.starts.iter().flat_map(|start| &start.outcome);
        let emitted = rows.map(Vec::len).max().unwrap_or(0).saturating_sub(1);
        let (fresh, rounds) = self.collect(below, 0, emitted);
        let catch_up = self.catch_up(&fresh);
        let mut starts = vec![self.verify(&fresh, rounds, below)];
        // A surplus is smaller than the last round of the level below.
        for kept in 1..if self.keep { emitted } else { 1 } {
            let (buffer, rounds) = self.collect(below, kept, emitted);
            starts.push(self.verify(&buffer, rounds, below));
        }
        RoundDistributions { starts, catch_up }
    }

    /// Collects tokens from `kept` up to the length. Returns the distribution of the buffer's size
    /// and the expected rounds of the level below by their state. A renewal process stopped at its
    /// first passage: the decision for one more round is made before it is drawn, so
    /// `E B = kept + E R · E e` (Wald).
    fn collect(
        &self,
        below: &RoundDistributions,
        kept: usize,
        emitted: usize,
    ) -> (Vec<f64>, Vec<f64>) {
        let states = below.starts.len();
        let mut rounds = vec![0.0; states];
        if kept >= self.length {
            let mut stop = vec![0.0; kept + 1];
            stop[kept] = 1.0;
            return (stop, rounds);
        }
        let mut stop = vec![0.0; largest_buffer(self.length, emitted) + 1];
        // Probability of passing through each size below the length, by the lower level's state.
        let mut open = vec![0.0; self.length * states];
        open[kept * states] = 1.0;
        for size in kept..self.length {
            for state in 0..states {
                let reached = open[size * states + state];
                if reached == 0.0 {
                    continue;
                }
                rounds[state] += reached;
                for (next, row) in below.starts[state].outcome.iter().enumerate() {
                    for (more, p) in row.iter().enumerate() {
                        match size + more {
                            sum if sum >= self.length => stop[sum] += reached * p,
                            sum => open[sum * states + next] += reached * p,
                        }
                    }
                }
            }
        }
        (stop, rounds)
    }

    /// The number of verified tokens in a buffer of `size`.
    fn verified(&self, size: usize) -> usize {
        if self.keep { size.min(self.length) } else { size }
    }

    /// Width of the pass that verifies `tokens`. With a bonus token, the pass also reads the last
    /// verified token. Without tokens to verify, it reads one token.
    fn width(&self, tokens: usize) -> usize {
        let drafted = if tokens == 0 { 0 } else { self.nodes.unwrap_or(tokens) };
        (drafted + usize::from(self.bonus)).max(1)
    }

    /// Expected extra seconds of the pass over this buffer if it is one token wider.
    fn catch_up(&self, buffer: &[f64]) -> f64 {
        let wider = |size: usize| {
            let width = self.width(self.verified(size));
            (self.pass[width + 1] - self.pass[width]).max(0.0)
        };
        buffer.iter().enumerate().filter(|(_, p)| **p > 0.0).map(|(n, p)| p * wider(n)).sum()
    }

    /// Verifies a buffer whose size has the distribution `buffer`.
    fn verify(
        &self,
        buffer: &[f64],
        rounds: Vec<f64>,
        below: &RoundDistributions,
    ) -> RoundDistribution {
        let most = self.verified(buffer.len() - 1);
        let mut accepted = vec![0.0; most + 1];
        let surplus = if self.keep { buffer.len().saturating_sub(self.length + 1) } else { 0 };
        let mut outcome = vec![vec![0.0; most + 2]; surplus + 1];
        let (mut bonus, mut pass_seconds) = (0.0, 0.0);
        // P(more than k tokens are verified): the rejections at position k + 1.
        let mut longer = vec![0.0; most + 1];
        for (size, p) in buffer.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            let tokens = self.verified(size);
            pass_seconds += p * self.pass[self.width(tokens)];
            if tokens > 0 {
                longer[tokens - 1] += p;
            }
            let whole = p * self.survival[tokens];
            accepted[tokens] += whole;
            match (tokens, self.bonus) {
                // After an empty proposal the token is this level's own.
                (0, _) => outcome[0][1] += whole,
                (_, true) => {
                    outcome[0][tokens + 1] += whole;
                    bonus += whole;
                }
                (_, false) => outcome[size - tokens][tokens] += whole,
            }
        }
        for k in (0..most).rev() {
            longer[k] += longer[k + 1];
            let rejected = longer[k] * (self.survival[k] - self.survival[k + 1]);
            accepted[k] += rejected;
            outcome[0][k + 1] += rejected;
        }
        let costs = rounds.iter().zip(&below.starts).map(|(count, start)| count * start.seconds);
        let seconds = pass_seconds + self.overhead + costs.sum::<f64>() + bonus * below.catch_up;
        RoundDistribution { outcome, accepted, below: rounds, bonus, pass_seconds, seconds }
    }
}
