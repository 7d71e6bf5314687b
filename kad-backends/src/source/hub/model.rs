//! A whole model: configuration, tokenizer and safetensors.

use std::path::{Path, PathBuf};

use super::repository::Repository;
use crate::error::LoadError;
use crate::files::safetensors;

/// Files fetched if the repository has them.
pub(super) const OPTIONAL: [&str; 3] =
    ["tokenizer_config.json", "generation_config.json", "chat_template.jinja"];
/// Files of every model.
pub(super) const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];

impl Repository<'_> {
    pub(super) fn model(&self, progress: &dyn Fn(&str)) -> Result<PathBuf, LoadError> {
        if let Some(folder) = self.cached_folder().filter(|folder| is_complete(folder)) {
            return Ok(folder);
        }
        progress(&format!("hf:{}: asking the hub for its files", self.repo));
        let info = self.info()?;
        // All files come from one commit, even if the branch moves meanwhile.
        let api = self.api(&info.sha)?;
        let names: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let get = |file: &str| self.get(&api, &info.sha, file, progress);
        // The weights come last, so that a cache with weights is complete.
        for file in OPTIONAL.iter().filter(|file| names.contains(file)).chain(&REQUIRED) {
            get(file)?;
        }
        let folder = if names.contains(&safetensors::INDEX) {
            let index = get(safetensors::INDEX)?;
            for shard in safetensors::shards_of(&index)? {
                get(&shard)?;
            }
            index
        } else {
            get(safetensors::SINGLE)?
        };
        self.remember(&info.sha)?;
        Ok(folder.parent().map_or_else(|| folder.clone(), Path::to_owned))
    }
}

pub(super) fn is_complete(folder: &Path) -> bool {
    let index = folder.join(safetensors::INDEX);
    let weights = match safetensors::shards_of(&index) {
        Ok(shards) => shards.iter().all(|shard| folder.join(shard).is_file()),
        Err(_) => folder.join(safetensors::SINGLE).is_file(),
    };
    weights && REQUIRED.iter().all(|file| folder.join(file).is_file())
}
