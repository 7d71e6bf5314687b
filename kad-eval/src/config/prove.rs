//! Files of `kad prove`: small table models, and decoders made of them.

use std::collections::BTreeMap;

use kad_core::oracle::TableModel;
use kad_core::{LanguageModel, TokenId};

use super::chain::circle;
use super::decoders::decoders;
use super::experiment::{DecoderPlan, SamplingPlan};
use super::read;
use crate::numbers::counted;
use crate::toml_table::{Result, Table, Value, parse};

/// The largest distance from one of the sum of a table's row.
const SUM_TOLERANCE: f64 = 1e-9;

pub(crate) struct Proof {
    pub(crate) name: String,
    pub(crate) prompt: Vec<TokenId>,
    /// The most tokens of a text.
    pub(crate) length: usize,
    pub(crate) eos: Vec<TokenId>,
    /// The vocabulary size of every model.
    pub(crate) vocab: usize,
    pub(crate) models: BTreeMap<String, TableModel>,
    pub(crate) claims: Vec<Claim>,
}

pub(crate) struct Claim {
    pub(crate) decoder: DecoderPlan,
    /// The decoder with the claimed distribution; `None` for the decoder's own formula.
    pub(crate) of: Option<String>,
    /// Does the file claim this distribution? Else the proof fails if the decoder has it.
    pub(crate) exact: bool,
}

/// Checks the proof in `text`; `file` is its name in messages.
pub(crate) fn read_proof(file: &str, text: &str) -> Result<Proof> {
    parse(file, text, "the proof", proof)
}

/// Keys of decoders that only proofs have.
const CLAIM_KEYS: [&str; 2] = ["claim", "exact"];

fn proof(file: &Table<'_>) -> Result<Proof> {
    let name = file.required("name")?.visible("a proof's name")?.to_owned();
    let (vocab, models) = models(&file.required("models")?)?;
    let prompt = tokens(&file.required("prompt")?, vocab)?;
    if prompt.is_empty() {
        let help = "give at least one token ID, for example `prompt = [0]`";
        return Err(file.required("prompt")?.error("the prompt is empty").help(help));
    }
    let eos = file.optional("eos").map_or(Ok(Vec::new()), |value| tokens(&value, vocab))?;
    let length = file.required("length")?.at_least_one("a text has at least one token")?.get();
    // Texts end at `length`, or earlier by a decoder's own settings.
    let plain = SamplingPlan { max_new_tokens: u64::MAX, ..SamplingPlan::default() };
    let sampling = read::sampling(file, "[sampling]", &plain)?;
    let plans = decoders(&file.required("decoders")?, &models, &sampling, &CLAIM_KEYS)?;
    if plans.iter().any(|plan| !plan.sampling.stop_at_end) {
        let help = "leave out `eos` instead: without one, no token ends a text";
        return Err(file
            .required("decoders")?
            .error("`stop_at_end` has no effect here")
            .help(help));
    }
    let claims = claims(&file.required("decoders")?, plans)?;
    file.finish()?;
    Ok(Proof { name, prompt, length, eos, vocab, models, claims })
}

/// The claims of the entries of a file, by their names.
type Claimed<'a> = BTreeMap<String, ClaimEntry<'a>>;

struct ClaimEntry<'a> {
    /// The value of `claim`, and the decoder that it names.
    of: Option<(Value<'a>, String)>,
    exact: bool,
}

/// Puts every decoder together with the claim of its entry.
fn claims(value: &Value<'_>, plans: Vec<DecoderPlan>) -> Result<Vec<Claim>> {
    let mut claimed = Claimed::new();
    for entry in value.list()? {
        let table = entry.table("[[decoders]]")?;
        let name = table.required("name")?;
        let names = plans.iter().map(|plan| plan.name.as_str());
        let exact = table.get("exact", Value::bool)?.unwrap_or(true);
        let of = match table.optional("claim") {
            Some(claim) => {
                let of = claim.known("decoder", names)?.to_owned();
                Some((claim, of))
            }
            None => None,
        };
        if claimed.insert(name.str()?.to_owned(), ClaimEntry { of, exact }).is_some() {
            let message = format!("two decoders are called `{}`", name.str()?);
            return Err(name.error(message).help("give each its own name"));
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

/// Refuses claims that go in a circle: they would hold for any decoders. Every other sequence of
/// claims ends at a decoder that is held to its own formula.
fn check_chains(plans: &[DecoderPlan], claimed: &Claimed<'_>) -> Result<()> {
    let next = |name: &str| {
        let plan = plans.iter().find(|plan| plan.name == name);
        let claim = plan.and_then(|plan| claim_of(plan, claimed));
        claim.map(|(_, of)| of.as_str()).into_iter().collect()
    };
    for first in plans {
        // A circle that begins later is reported there.
        if let Some(path) = circle(&first.name, &[&first.name], &next)
            && let Some((at, _)) = claim_of(first, claimed)
        {
            let message = match &path[..] {
                [own, _] => format!("`{own}` claims the distribution of itself"),
                [all @ .., _] => format!("these claims go in a circle: `{}`", all.join("` → `")),
                [] => String::new(),
            };
            let help = "leave out one `claim`: that decoder is then checked against its own \
                        formula";
            return Err(at.error(message).help(help));
        }
    }
    Ok(())
}

/// The models, and the size of their shared vocabulary.
fn models(value: &Value<'_>) -> Result<(usize, BTreeMap<String, TableModel>)> {
    let mut models: BTreeMap<String, TableModel> = BTreeMap::new();
    for (name, value) in value.table("[models]")?.entries() {
        let model = model(name, &value)?;
        let size = model.vocab().size();
        if let Some((first, other)) = models.first_key_value()
            && other.vocab().size() != size
        {
            let (name, other) = (model.name(), other.vocab().size());
            let message =
                format!("`{name}` has {}, but `{first}` has {other}", counted(size, "token"));
            let help = "models that are combined have one vocabulary";
            return Err(value.error(message).help(help));
        }
        models.insert(name.to_owned(), model);
    }
    match models.first_key_value() {
        Some((_, first)) => Ok((first.vocab().size(), models)),
        None => Err(value.error("no models").help("add `[models.NAME]` with `rows`")),
    }
}

fn model(name: &str, value: &Value<'_>) -> Result<TableModel> {
    let table = value.table(format!("[models.{name}]"))?;
    let model = match (table.optional("rows"), table.optional("random")) {
        (Some(rows), None) => rows_model(name, &rows),
        (None, Some(random)) => random_model(name, &random),
        (Some(_), Some(random)) => Err(random.error("give `rows` or `random`, not both")),
        (None, None) => {
            let help = "add `rows = { \"\" = [0.5, 0.5] }` or `random = { vocab = 3, order = 2, \
                        seed = 1 }`";
            table.finish()?;
            Err(table.error(format!("[models.{name}] has no distribution")).help(help))
        }
    }?;
    table.finish()?;
    Ok(model)
}

fn random_model(name: &str, value: &Value<'_>) -> Result<TableModel> {
    let table = value.table("random")?;
    let vocab = table.required("vocab")?.at_least_one("a vocabulary has at least one token")?.get();
    let order = table.required("order")?.count()?;
    let seed = table.optional("seed").map_or(Ok(0), |value| value.count())?;
    table.finish()?;
    Ok(TableModel::random(name, vocab, usize::try_from(order).unwrap_or(usize::MAX), seed))
}

fn rows_model(name: &str, value: &Value<'_>) -> Result<TableModel> {
    let table = value.table("rows")?;
    let Some((_, first)) = table.entries().find(|(suffix, _)| suffix.trim().is_empty()) else {
        let help = "add `\"\" = […]`: the distribution after contexts that no other row names";
        return Err(value.error("`rows` lacks the row `\"\"`").help(help));
    };
    let vocab = first.list()?.len();
    if vocab == 0 {
        let help = "give one probability for each token of the vocabulary";
        return Err(first.error("the row `\"\"` is empty").help(help));
    }
    let mut rows: BTreeMap<Vec<TokenId>, Vec<f32>> = BTreeMap::new();
    for (suffix, value) in table.entries() {
        let logits = row(&value, vocab)?;
        if rows.insert(tokens_of(suffix, &value, vocab)?, logits).is_some() {
            return Err(value.error(format!("two rows for the suffix \"{suffix}\"")));
        }
    }
    let order = rows.keys().map(Vec::len).max().unwrap_or(0);
    let empty = TableModel::random(name, vocab, order, 0);
    Ok(rows.iter().fold(empty, |model, (suffix, logits)| model.with_row(suffix, logits)))
}

/// The tokens of a row's key: ids between spaces.
fn tokens_of(suffix: &str, value: &Value<'_>, vocab: usize) -> Result<Vec<TokenId>> {
    let token = |word: &str| match word.parse::<TokenId>() {
        Ok(token) if (token as usize) < vocab => Ok(token),
        _ => {
            let message =
                format!("the suffix \"{suffix}\" contains `{word}`, which is not a token ID");
            let help = format!("write token IDs from 0 to {}, separated by spaces", vocab - 1);
            Err(value.error(message).help(help))
        }
    };
    suffix.split_whitespace().map(token).collect()
}

/// The logits of a row of probabilities.
fn row(value: &Value<'_>, vocab: usize) -> Result<Vec<f32>> {
    let probs = value.list()?.iter().map(probability).collect::<Result<Vec<f64>>>()?;
    let sum: f64 = probs.iter().sum();
    if probs.len() != vocab {
        let message =
            format!("this row has {}, but the row \"\" has {vocab}", counted(probs.len(), "value"));
        Err(value.error(message).help("give one probability for every token"))
    } else if (sum - 1.0).abs() <= SUM_TOLERANCE {
        Ok(probs.iter().map(|p| p.ln() as f32).collect())
    } else {
        let help = "they must sum to 1; \"1/3\" is written as a string";
        Err(value.error(format!("the probabilities sum to {sum}")).help(help))
    }
}

/// A number, or a fraction in a string.
fn probability(value: &Value<'_>) -> Result<f64> {
    let found = match value.str() {
        Ok(text) => fraction(text).ok_or_else(|| {
            value.error(format!("`{text}` is not a fraction")).help("write \"1/3\"")
        })?,
        Err(_) => value.float()?,
    };
    if (0.0..=1.0).contains(&found) {
        Ok(found)
    } else {
        Err(value.error(format!("{found} is not a probability: write a number between 0 and 1")))
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
            Err(value.error("unknown token ID").help(help))
        }
    };
    value.list()?.iter().map(token).collect()
}
