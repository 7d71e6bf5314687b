//! `kad score`: negative log-likelihood and perplexity of a text.

use anyhow::{Context, Result};
use kad_core::{LanguageModel, LogitRows, TokenId, log_normaliser, log_prob};
use serde::Serialize;

use super::plan;
use crate::cli::ScoreArgs;
use crate::failure::Failure;
use crate::models::{self, Model};
use crate::output;

/// Rows of logits in memory at a time, for long texts.
const CHUNK: usize = 64;

#[derive(Serialize)]
struct TextScore {
    tokens: Vec<TokenId>,
    /// −Σ log p(token | prefix) over tokens 2…n, nats.
    nll: f64,
    /// exp(nll / (n − 1)); `None` for a single token.
    perplexity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Vec<NextToken>>,
}

#[derive(Serialize)]
struct NextToken {
    id: TokenId,
    text: String,
    logprob: f64,
}

pub(super) fn run(args: &ScoreArgs) -> Result<(), Failure> {
    let text = match (&args.text, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the text {}", file.display()))
            .map_err(Failure::Request)?,
        (None, None) => String::new(),
    };
    let model = models::load("model", &plan(&args.model, &args.engine))?;
    let tokens = model.tokenizer.encode(&text, true).map_err(anyhow::Error::from)?;
    if tokens.is_empty() {
        let message = "the text has no tokens: give at least one with --text or --file";
        return Err(Failure::request(anyhow::anyhow!(message)));
    }
    let score = score(&model, tokens, args.top)?;
    if args.json {
        output::line(&serde_json::to_string(&score).map_err(anyhow::Error::from)?)?;
    } else {
        print(&score)?;
    }
    Ok(())
}

fn score(model: &Model, tokens: Vec<TokenId>, top: Option<usize>) -> Result<TextScore> {
    let mut session = model.counted.start()?;
    let mut rows = LogitRows::new(model.counted.vocab().size());
    let mut nll = 0.0;
    for start in (0..tokens.len()).step_by(CHUNK) {
        let chunk = &tokens[start..tokens.len().min(start + CHUNK)];
        rows.clear();
        session.extend(chunk, chunk.len(), &mut rows)?;
        // The row of token i predicts token i + 1.
        for (row, &next) in rows.iter().zip(&tokens[start + 1..]) {
            nll -= log_prob(row, next).context("the model returned unusable logits")?;
        }
    }
    let next = top.map(|n| likeliest(model, rows.row(rows.len() - 1), n)).transpose()?;
    let predicted = tokens.len() - 1;
    let perplexity = (predicted > 0).then(|| (nll / predicted as f64).exp());
    Ok(TextScore { tokens, nll, perplexity, next })
}

/// The `n` most probable tokens; among equals the lower IDs.
fn likeliest(model: &Model, row: &[f32], n: usize) -> Result<Vec<NextToken>> {
    let mut order: Vec<TokenId> = (0..row.len() as TokenId).collect();
    order.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
    let normaliser = log_normaliser(row).context("the model returned unusable logits")?;
    let next = |&id: &TokenId| NextToken {
        id,
        text: model.tokenizer.token_text(id),
        logprob: f64::from(row[id as usize]) - normaliser,
    };
    Ok(order.iter().take(n).map(next).collect())
}

fn print(score: &TextScore) -> std::io::Result<()> {
    output::line(&format!("tokens      {}", score.tokens.len()))?;
    output::line(&format!("nll         {:.6} nats", score.nll))?;
    if let Some(perplexity) = score.perplexity {
        output::line(&format!("perplexity  {perplexity:.6}"))?;
    }
    for next in score.next.iter().flatten() {
        output::line(&format!("  {:>9.5}  {:>7}  {:?}", next.logprob, next.id, next.text))?;
    }
    Ok(())
}
