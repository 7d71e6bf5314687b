//! `kad tasks`: the list of tasks, and the prompts of their items.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use kad_core::TokenId;
use serde_json::json;

use super::plan;
use crate::cli::{EngineArgs, PromptModel, ShowArgs, TasksCommand};
use crate::config::{DecoderKind, Experiment, ModelPlan, read_file};
use crate::failure::{Failure, WrongRequest};
use crate::models::{self, Model, Models};
use crate::numbers::counted;
use crate::output;
use crate::task::{
    self, Found, Grading, Item, KINDS, LoadOptions, PromptFormat, Task, TaskKind, TaskPlan, letter,
};
use crate::toml_table::{advice, nearest};

pub(super) fn run(command: &TasksCommand) -> Result<(), Failure> {
    match command {
        TasksCommand::List { data, json, markdown } => {
            let data = data.place();
            let data = data.as_deref();
            let text = match (json, markdown) {
                (true, _) => {
                    serde_json::to_string_pretty(&listed(data)?).context("a list of text")?
                }
                (_, true) => self::markdown(),
                _ => table(data)?,
            };
            output::line(text.trim_end())?;
            if data.is_none() && !json && !markdown {
                output::note(
                    "no data folder: give one by `--data DIR` or KAD_DATA; `hf:` is the Hugging Face hub",
                );
            }
            Ok(())
        }
        TasksCommand::Show(args) => show(args),
    }
}

fn listed(data: Option<&Path>) -> Result<Vec<serde_json::Value>> {
    let about = |kind: &&TaskKind| {
        let found = match kind.found(data)? {
            Found::NotAsked => None,
            Found::InFolder | Found::OnHub => Some(true),
            Found::Missing => Some(false),
        };
        Ok(json!({
            "name": kind.name,
            "measures": kind.measures,
            "metric": kind.metric,
            "items": (kind.items > 0).then_some(kind.items),
            "file": kind.file(),
            "hub": kind.hub(),
            "found": found,
            "licence": kind.licence,
            "source": kind.source,
            "keys": kind.keys,
        }))
    };
    KINDS.iter().map(about).collect()
}

fn items(kind: &TaskKind) -> String {
    if kind.items > 0 { kind.items.to_string() } else { "yours".to_owned() }
}

fn table(data: Option<&Path>) -> Result<String> {
    let mut table = crate::report::table::empty(UTF8_FULL_CONDENSED);
    table.set_header(["task", "measures", "metric", "items", "data", "licence", "source"]);
    for kind in KINDS {
        let file = kind.file().unwrap_or_else(|| "–".to_owned());
        let place = match (kind.found(data)?, kind.hub()) {
            (Found::OnHub, Some(hub)) => format!("hub: {hub}"),
            (Found::InFolder, _) => format!("{file} found"),
            (Found::Missing, _) => format!("{file} MISSING"),
            _ => file,
        };
        table.add_row([
            kind.name,
            kind.measures,
            kind.metric,
            &items(kind),
            &place,
            kind.licence,
            kind.source,
        ]);
    }
    Ok(table.to_string())
}

/// The table of `docs/TASKS.md`.
fn markdown() -> String {
    let head = "| task | measures | metric | items | file | licence | source | on the hub |\n\
                |---|---|---|---|---|---|---|---|\n";
    let row = |kind: &&TaskKind| {
        let file = kind.file().map_or("–".to_owned(), |file| format!("`{file}`"));
        let hub = kind.hub().unwrap_or_else(|| "–".to_owned());
        let TaskKind { name, measures, metric, licence, source, .. } = kind;
        format!(
            "| `{name}` | {measures} | {metric} | {} | {file} | {licence} | {source} | {hub} |\n",
            items(kind)
        )
    };
    head.to_owned() + &KINDS.iter().map(row).collect::<String>()
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let experiment = match &args.model {
        Some(PromptModel::Experiment { file, .. }) => {
            Some(read_file(file, &[]).map_err(Failure::Request)?)
        }
        _ => None,
    };
    let plan = named(&args.name, experiment.as_ref())?;
    let seed = experiment.as_ref().map_or(0, |experiment| experiment.seed);
    let data = args.data.place();
    let from = LoadOptions { data: data.as_deref(), seed, limit: None };
    let task = task::load(&plan, from).with_context(|| format!("task {}", plan.name()))?;
    let index = usize::try_from(args.item - 1).unwrap_or(usize::MAX);
    let Some(item) = task.items.get(index) else {
        let items = counted(task.items.len(), "item");
        let message = format!("{} has {items}, so item {} does not exist", task.name, args.item);
        return Err(anyhow::Error::from(WrongRequest(message)).into());
    };
    let reader = args.model.as_ref().map(|model| readers(model, experiment, &task)).transpose()?;
    let prompt = reader.as_ref().map(|(name, models)| read(name, models, &task, item));
    let prompt = prompt.transpose()?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&shown_as_json(&task, item, args.item, prompt))
            .context("cannot write JSON")?,
        false => shown_as_text(&task, item, args.item, prompt),
    };
    Ok(output::line(&text)?)
}

/// The task of this name: in the experiment, or a kind with default settings.
fn named(name: &str, experiment: Option<&Experiment>) -> Result<TaskPlan> {
    let own = experiment.map_or(&[][..], |experiment| &experiment.tasks);
    let of_kind = |plan: &&TaskPlan| plan.kind() == name;
    let found = own.iter().find(|plan| plan.name() == name).or_else(|| own.iter().find(of_kind));
    if let Some(plan) = found {
        return Ok(plan.clone());
    }
    let kinds = KINDS.iter().map(|kind| kind.name);
    if kinds.clone().any(|kind| kind == name) {
        return TaskPlan::from_toml(&format!("kind = \"{name}\"")).map_err(|error| {
            let message = format!(
                "{name} needs settings: describe it in an experiment and pass it with `--model \
                 FILE.toml:MODEL`: {error}"
            );
            WrongRequest(message).into()
        });
    }
    let names: Vec<String> =
        own.iter().map(TaskPlan::name).chain(kinds.map(str::to_owned)).collect();
    let all = || format!("known: {}", names.join(", "));
    let help = advice(name, names.iter().map(String::as_str), all);
    let hint = match experiment {
        Some(_) => "",
        None => "; for a task of your experiment, add `--model FILE.toml:MODEL`",
    };
    bail!(WrongRequest(format!("unknown task `{name}`; {help}{hint}")))
}

/// The name of the model whose prompt is shown, and the loaded models: that one, and others until
/// one has a chat template.
fn readers(
    reader: &PromptModel,
    experiment: Option<Experiment>,
    task: &Task,
) -> Result<(String, Models)> {
    let (name, plans) = match (reader, experiment) {
        (PromptModel::Experiment { file, model }, Some(experiment)) => {
            let names = || experiment.models.keys().map(String::as_str);
            if !names().any(|name| name == model) {
                let near = nearest(model, names()).map(|near| format!("; did you mean `{near}`?"));
                bail!(WrongRequest(format!(
                    "{} has no model `{model}`{}",
                    file.display(),
                    near.unwrap_or_else(|| format!(
                        ": it has {}",
                        names().collect::<Vec<_>>().join(", ")
                    ))
                )));
            }
            (model.clone(), experiment.models)
        }
        (PromptModel::Source(source), _) => {
            let (name, plan) = (source.to_string(), plan(source, &EngineArgs::default()));
            (name.clone(), [(name, plan)].into())
        }
        (PromptModel::Experiment { file, .. }, None) => bail!("{} was not read", file.display()),
    };
    let single = |name: &str| DecoderKind::Single { model: name.to_owned() };
    let mut models = models::load_all(&only(&plans, &name), std::iter::once(&single(&name)))?;
    let lacks = |models: &Models| !models.values().any(|model| model.chat_template.is_some());
    for other in plans.keys().filter(|other| **other != name) {
        if task.format != PromptFormat::Chat || !lacks(&models) {
            break;
        }
        models.extend(models::load_all(&only(&plans, other), std::iter::once(&single(other)))?);
    }
    Ok((name, models))
}

/// The plans of one model and, for an early exit, of the model whose layers it takes.
fn only(plans: &BTreeMap<String, ModelPlan>, name: &str) -> BTreeMap<String, ModelPlan> {
    let whole = plans[name].early_exit.as_ref().map(|exit| exit.of.as_str());
    let names = whole.into_iter().chain([name]);
    names.map(|name| (name.to_owned(), plans[name].clone())).collect()
}

/// A prompt as a model reads it: the model's name, the model with the template, the tokens.
type ReadPrompt<'m> = (&'m str, &'m Model, Vec<TokenId>);

fn read<'m>(
    model: &'m str,
    models: &'m Models,
    task: &Task,
    item: &Item,
) -> Result<ReadPrompt<'m>> {
    let kind = DecoderKind::Single { model: model.to_owned() };
    let speaker = models::speaker(&kind, models);
    let tokens = match task.grading {
        Grading::Text => speaker.tokenizer.encode(&item.prompt(), true)?,
        _ => models::prompt(&kind, models, &task.conversation(item, &[]))?.tokens(speaker, "")?,
    };
    Ok((model, speaker, tokens))
}

fn shown_as_json(
    task: &Task,
    item: &Item,
    place: u64,
    read: Option<ReadPrompt<'_>>,
) -> serde_json::Value {
    let messages = task.conversation(item, &[]).messages.into_iter();
    let messages =
        messages.map(|message| json!({ "role": message.role, "content": message.content }));
    let options = item.options.iter().enumerate().map(|(index, option)| {
        json!({ "letter": letter(index), "text": option.text, "right": option.right })
    });
    let mut shown = json!({
        "task": task.name,
        "item": item.id,
        "place": place,
        "items": task.items.len(),
        "group": item.group,
        "messages": messages.collect::<Vec<_>>(),
        "turns": item.turns,
        "options": options.collect::<Vec<_>>(),
        "gold": Some(&item.gold).filter(|gold| !gold.is_empty()),
        "answer": task.grading.to_string(),
    });
    if let Some((model, speaker, tokens)) = read {
        shown["model"] = json!(model);
        shown["prompt"] = json!(visible(speaker, &tokens));
        shown["tokens"] = json!(tokens);
    }
    shown
}

fn shown_as_text(task: &Task, item: &Item, place: u64, read: Option<ReadPrompt<'_>>) -> String {
    let items = task.items.len();
    let mut lines = vec![
        format!("task     {}", task.name),
        format!("item     {} ({place} of {items})", item.id),
    ];
    match read {
        None => {
            let messages = task.conversation(item, &[]).messages.into_iter();
            lines.extend(messages.map(|it| format!("\n[{}]\n{}", it.role, it.content)));
        }
        Some((model, speaker, tokens)) => {
            let context = speaker.details.context_len;
            // Scored texts are read in windows.
            let room = match tokens.len() >= context && task.grading != Grading::Text {
                true => format!(": more than the context length, {context}"),
                false => String::new(),
            };
            lines.push(format!("model    {model}"));
            lines.push(format!("tokens   {}{room}", tokens.len()));
            lines.push(format!("\n{}", visible(speaker, &tokens)));
            let later = item.turns.iter().zip(1..).skip(1);
            lines.extend(
                later.map(|(text, turn)| format!("\n[turn {turn}, after the reply]\n{text}")),
            );
        }
    }
    lines.push(format!("\nanswer   {}", task.grading));
    if matches!(task.grading, Grading::Options | Grading::RightMass) {
        lines.extend(item.options.iter().enumerate().map(|(index, option)| {
            let mark = if option.right { "*" } else { " " };
            format!("       {mark} {}: {}", letter(index), option.text)
        }));
    }
    if !item.gold.is_empty() {
        lines.push(format!("gold     {}", item.gold));
    }
    lines.join("\n")
}

/// The text of tokens, with special tokens in brackets.
fn visible(speaker: &Model, tokens: &[TokenId]) -> String {
    let mut stream = speaker.tokenizer.stream_with_special();
    let mut text = String::new();
    for &token in tokens {
        let piece = stream.push(token);
        match speaker.tokenizer.is_special(token) {
            true => text.push_str(&format!("⟦{piece}⟧")),
            false => text.push_str(&piece),
        }
    }
    text + &stream.finish()
}
