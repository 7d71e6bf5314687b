//! `kad models`: list, fetch, inspect.

use anyhow::Result;
use serde::Serialize;

use super::plan;
use crate::cli::ModelsCommand;
use crate::failure::Failure;
use crate::models::Model;
use crate::run::provenance::ModelProvenance;
use crate::{models, output};

pub(super) fn run(command: &ModelsCommand) -> Result<(), Failure> {
    match command {
        ModelsCommand::List { json } => list(*json)?,
        ModelsCommand::Fetch { source } => {
            let path = source.resolve(&|step| output::note(step));
            output::line(&path.map_err(anyhow::Error::from)?.display().to_string())?;
        }
        ModelsCommand::Inspect { source, engine, json } => {
            let model = models::load("model", &plan(source, engine))?;
            let text = if *json { inspected(&model)? } else { model.details.to_string() };
            output::line(text.trim_end())?;
        }
    }
    Ok(())
}

fn list(json: bool) -> Result<()> {
    let names: Vec<String> =
        kad_backends::nano_models().iter().map(|it| format!("nano:{it}")).collect();
    if json {
        return Ok(output::line(&serde_json::to_string(&names)?)?);
    }
    names.iter().try_for_each(|name| output::line(name))?;
    output::note("other sources: a path, hf:ORG/REPO[@rev][/file], pypi:PACKAGE==VERSION[/file]");
    Ok(())
}

#[derive(Serialize)]
struct ModelInspection<'m> {
    #[serde(flatten)]
    model: ModelProvenance,
    path: &'m std::path::Path,
    format: String,
    layers: usize,
    weight_bytes: u64,
    /// Size of the matrices in memory: the bytes that a forward pass reads.
    kept_bytes: u64,
    has_chat_template: bool,
    end_tokens: Vec<u32>,
    remark: Option<&'m str>,
}

fn inspected(model: &Model) -> Result<String> {
    let details = &model.details;
    let inspected = ModelInspection {
        model: model.into(),
        path: &details.path,
        format: details.format.to_string(),
        layers: details.layers,
        weight_bytes: details.weight_bytes,
        kept_bytes: details.kept_bytes,
        has_chat_template: model.chat_template.is_some(),
        end_tokens: model.eos.clone(),
        remark: details.remark.as_deref(),
    };
    Ok(serde_json::to_string_pretty(&inspected)?)
}
