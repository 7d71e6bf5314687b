//! Files of `kad prove`: small table models, and decoders of them.

use std::collections::BTreeMap;

use kad_core::oracle::TableModel;
use kad_core::{LanguageModel, TokenId};
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::decoders::decoders;
use super::experiment::{DecoderPlan, SamplingPlan};
use super::read::{known, read_sampling, visible};
use super::table::{Source, Table, Value};

type Result<T> = std::result::Result<T, ConfigError>;

/// How far the sum of a table's row may be from one.
const SUM_TOLERANCE: f64 = 1e-9;

/// Something to prove.
pub(crate) struct Proof {
    pub(crate) name: String,
    pub(crate) prompt: Vec<TokenId>,
    /// The most tokens a text has.
    pub(crate) length: usize,
    pub(crate) eos: Vec<TokenId>,
    /// Tokens of every model.
    pub(crate) vocab: usize,
    pub(crate) models: BTreeMap<String, TableModel>,
    pub(crate) claims: Vec<Claim>,
}

/// A decoder and the distribution it is held to.
pub(crate) struct Claim {
    pub(crate) decoder: DecoderPlan,
    /// The decoder whose distribution this one should have; without it, that of its own formula.
    pub(crate) of: Option<String>,
    /// Whether it is said to have that distribution; if not, having it is the mistake.
    pub(crate) exact: bool,
}

/// Checks the proof in `text`; `file` is its name in messages.
///
/// # Errors
/// The first mistake, with its line, a caret and what to write instead.
pub(crate) fn read_proof(file: &str, text: &str) -> Result<Proof> {
    let source = Source { file: file.to_owned(), text: text.to_owned() };
    let parsed = DeTable::parse(&source.text)
        .map_err(|error| source.error(error.span().unwrap_or(0..0), error.message(), None))?;
    // The decoders of experiments know no claims: they are read without them.
    let mut bare = parsed.get_ref().clone();
    strip_claims(&mut bare);
    let whole = 0..source.text.len();
    let bare = Table::new(&source, "the proof", &bare, whole.clone());
    proof(&Table::new(&source, "the proof", parsed.get_ref(), whole), &bare)
}

fn strip_claims(file: &mut DeTable<'_>) {
    if let Some(DeValue::Array(entries)) = file.get_mut("decoders").map(|value| value.get_mut()) {
        for entry in entries.iter_mut() {
            if let DeValue::Table(table) = entry.get_mut() {
                table.remove("claim");
                table.remove("exact");
            }
        }
    }
}

fn proof(file: &Table<'_>, bare: &Table<'_>) -> Result<Proof> {
    let name = visible(&file.required("name")?, "a proof's name")?.to_owned();
    let (vocab, models) = models(&file.required("models")?)?;
    let prompt = tokens(&file.required("prompt")?, vocab)?;
    if prompt.is_empty() {
        let help = "give at least one token id, as `prompt = [0]`";
        return Err(file.required("prompt")?.error("the prompt is empty", Some(help.into())));
    }
    let eos = file.optional("eos").map_or(Ok(Vec::new()), |value| tokens(&value, vocab))?;
    let length = count(&file.required("length")?)?;
    // Texts end at `length`, unless a decoder's own settings say earlier.
    let plain = SamplingPlan { max_new_tokens: u64::MAX, ..SamplingPlan::default() };
    let sampling = match file.optional("sampling") {
        Some(value) => read_sampling(&value.table("[sampling]")?, &plain)?,
        None => plain,
    };
    let plans = decoders(&bare.required("decoders")?, &models, &sampling)?;
    if plans.iter().any(|plan| !plan.sampling.stop_at_end) {
        let help = "leave out `eos` instead: without one, no token ends a text";
        return Err(file
            .required("decoders")?
            .error("`stop_at_end` says nothing here", Some(help.into())));
    }
    let claims = claims(&file.required("decoders")?, plans)?;
    file.finish()?;
    Ok(Proof { name, prompt, length, eos, vocab, models, claims })
}

/// What the entries of a file claim, by their names.
type Claimed<'a> = BTreeMap<String, Entry<'a>>;

/// The place and the decoder named there as the one with the same distribution, and whether the
/// distribution is said to be the same at all.
struct Entry<'a> {
    of: Option<(Value<'a>, String)>,
    exact: bool,
}

/// Puts every decoder together with what its entry of the file claims.
fn claims(value: &Value<'_>, plans: Vec<DecoderPlan>) -> Result<Vec<Claim>> {
    let mut claimed = Claimed::new();
    for entry in value.list()? {
        let table = entry.table("[[decoders]]")?;
        let name = table.required("name")?;
        let names = plans.iter().map(|plan| plan.name.as_str());
        let exact = table.optional("exact").map_or(Ok(true), |value| value.bool())?;
        let of = match table.optional("claim") {
            Some(claim) => {
                let of = known(&claim, "decoder", names)?.to_owned();
                Some((claim, of))
            }
            None => None,
        };
        if claimed.insert(name.str()?.to_owned(), Entry { of, exact }).is_some() {
            let message = format!("two decoders are called `{}`", name.str()?);
            return Err(name.error(&message, Some("give each its own name".into())));
        }
    }
    check_chains(&plans, &claimed)?;
    let claim = |decoder: DecoderPlan| {
        let of = claim_of(&decoder, &claimed).map(|(_, of)| of.clone());
        let exact = claimed.get(&decoder.family).is_none_or(|entry| entry.exact);
        Claim { decoder, of, exact }
    };
    Ok(plans.into_iter().map(claim).collect())
}

fn claim_of<'c, 'a>(
    plan: &DecoderPlan,
    claimed: &'c Claimed<'a>,
) -> Option<&'c (Value<'a>, String)> {
    claimed.get(&plan.family)?.of.as_ref()
}

/// Refuses claims that come back to where they began: they would hold whatever the decoders do.
/// Every other chain ends at a decoder that is held to its own formula.
fn check_chains(plans: &[DecoderPlan], claimed: &Claimed<'_>) -> Result<()> {
    for first in plans {
        let mut chain = vec![first.name.as_str()];
        let mut here = Some(first);
        while let Some((_, of)) = here.and_then(|plan| claim_of(plan, claimed)) {
            if chain.contains(&of.as_str()) {
                break;
            }
            chain.push(of);
            here = plans.iter().find(|plan| plan.name == *of);
        }
        let back = here.and_then(|plan| claim_of(plan, claimed));
        // A circle further on is reported where it begins.
        if back.is_some_and(|(_, of)| *of == first.name)
            && let Some((at, _)) = claim_of(first, claimed)
        {
            let message = match &chain[..] {
                [own] => format!("`{own}` claims the distribution of itself"),
                _ => format!("these claims go in a circle: `{}`", chain.join("` → `")),
            };
            let help = "leave out one `claim`: that decoder is held to its own formula";
            return Err(at.error(&message, Some(help.into())));
        }
    }
    Ok(())
}

/// The models, and the size of the vocabulary they share.
fn models(value: &Value<'_>) -> Result<(usize, BTreeMap<String, TableModel>)> {
    let mut models: BTreeMap<String, TableModel> = BTreeMap::new();
    for (name, value) in value.table("[models]")?.entries() {
        let model = model(name, &value)?;
        let size = model.vocab().size();
        if let Some((first, other)) = models.first_key_value()
            && other.vocab().size() != size
        {
            let (name, other) = (model.name(), other.vocab().size());
            let message = format!("`{name}` has {size} tokens, but `{first}` has {other}");
            let help = "models that are combined have one vocabulary";
            return Err(value.error(&message, Some(help.into())));
        }
        models.insert(name.to_owned(), model);
    }
    match models.first_key_value() {
        Some((_, first)) => Ok((first.vocab().size(), models)),
        None => Err(value.error("no models", Some("add `[models.NAME]` with `rows`".into()))),
    }
}

fn model(name: &str, value: &Value<'_>) -> Result<TableModel> {
    let table = value.table(format!("[models.{name}]"))?;
    let model = match (table.optional("rows"), table.optional("random")) {
        (Some(rows), None) => rows_model(name, &rows),
        (None, Some(random)) => random_model(name, &random),
        (Some(_), Some(random)) => {
            Err(random.error("a model has `rows` or is `random`, not both", None))
        }
        (None, None) => {
            let help = "add `rows = { \"\" = [0.5, 0.5] }` or `random = { vocab = 3, order = 2, \
                        seed = 1 }`";
            table.finish()?;
            Err(table.error(&format!("[models.{name}] has no distribution"), Some(help.into())))
        }
    }?;
    table.finish()?;
    Ok(model)
}

fn random_model(name: &str, value: &Value<'_>) -> Result<TableModel> {
    let table = value.table("random")?;
    let vocab = count(&table.required("vocab")?)?;
    let order = table.required("order")?.count()?;
    let seed = table.optional("seed").map_or(Ok(0), |value| value.count())?;
    table.finish()?;
    Ok(TableModel::random(name, vocab, usize::try_from(order).unwrap_or(usize::MAX), seed))
}

fn rows_model(name: &str, value: &Value<'_>) -> Result<TableModel> {
    let table = value.table("rows")?;
    let Some((_, first)) = table.entries().find(|(suffix, _)| suffix.trim().is_empty()) else {
        let help = "add `\"\" = […]`: the distribution after contexts that no other row names";
        return Err(value.error("`rows` lacks the row `\"\"`", Some(help.into())));
    };
    let vocab = first.list()?.len();
    if vocab == 0 {
        let help = "give one probability for each token of the vocabulary";
        return Err(first.error("the row `\"\"` is empty", Some(help.into())));
    }
    let mut rows: BTreeMap<Vec<TokenId>, Vec<f32>> = BTreeMap::new();
    for (suffix, value) in table.entries() {
        let logits = row(&value, vocab)?;
        if rows.insert(tokens_of(suffix, &value, vocab)?, logits).is_some() {
            return Err(value.error(&format!("two rows for the suffix \"{suffix}\""), None));
        }
    }
    let order = rows.keys().map(Vec::len).max().unwrap_or(0);
    let empty = TableModel::random(name, vocab, order, 0);
    Ok(rows.iter().fold(empty, |model, (suffix, logits)| model.with_row(suffix, logits)))
}

/// The tokens that a row's key names: ids between spaces.
fn tokens_of(suffix: &str, value: &Value<'_>, vocab: usize) -> Result<Vec<TokenId>> {
    let token = |word: &str| match word.parse::<TokenId>() {
        Ok(token) if (token as usize) < vocab => Ok(token),
        _ => {
            let message = format!("the suffix \"{suffix}\" names `{word}`, which is no token id");
            let help = format!("write ids from 0 to {} with spaces between", vocab - 1);
            Err(value.error(&message, Some(help)))
        }
    };
    suffix.split_whitespace().map(token).collect()
}

/// The logits of a row of probabilities.
fn row(value: &Value<'_>, vocab: usize) -> Result<Vec<f32>> {
    let probs = value.list()?.iter().map(probability).collect::<Result<Vec<f64>>>()?;
    let sum: f64 = probs.iter().sum();
    if probs.len() != vocab {
        let message = format!("this row has {} probabilities, the row \"\" {vocab}", probs.len());
        Err(value.error(&message, Some("give one for every token".into())))
    } else if (sum - 1.0).abs() <= SUM_TOLERANCE {
        Ok(probs.iter().map(|p| p.ln() as f32).collect())
    } else {
        let help = "they must sum to 1; \"1/3\" is written as a string";
        Err(value.error(&format!("the probabilities sum to {sum}"), Some(help.into())))
    }
}

/// A number, or a fraction in a string.
fn probability(value: &Value<'_>) -> Result<f64> {
    let found = match value.str() {
        Ok(text) => fraction(text).ok_or_else(|| {
            value.error(&format!("`{text}` is no fraction"), Some("write \"1/3\"".into()))
        })?,
        Err(_) => value.float()?,
    };
    if (0.0..=1.0).contains(&found) {
        Ok(found)
    } else {
        Err(value.error(&format!("{found} is no probability: between 0 and 1"), None))
    }
}

fn fraction(text: &str) -> Option<f64> {
    let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
    let number = |text: &str| text.trim().parse::<f64>().ok();
    Some(number(numerator)? / number(denominator)?)
}

fn tokens(value: &Value<'_>, vocab: usize) -> Result<Vec<TokenId>> {
    let token = |value: &Value<'_>| match TokenId::try_from(value.count()?) {
        Ok(token) if (token as usize) < vocab => Ok(token),
        _ => {
            let help = format!("the models have the tokens 0 to {}", vocab - 1);
            Err(value.error("unknown token id", Some(help)))
        }
    };
    value.list()?.iter().map(token).collect()
}

/// A whole number of at least 1.
fn count(value: &Value<'_>) -> Result<usize> {
    match usize::try_from(value.count()?).unwrap_or(usize::MAX) {
        0 => Err(value.error("this must be 1 or more", None)),
        number => Ok(number),
    }
}
