//! What a run has to say about its own numbers, in sentences.

use kad_core::decode::Stop;

use crate::config::Experiment;
use crate::models::Models;
use crate::record::Record;
use crate::runner::{Finished, PROMPT_TOO_LONG};
use crate::task::{Grading, Task};

/// All of it but the items that failed, the most far-reaching first.
pub(super) fn warnings(
    experiment: &Experiment,
    (models, left_out): (&Models, &[String]),
    tasks: &[Task],
    records: &[Record],
) -> Vec<String> {
    let mut said = left_out.to_vec();
    said.extend(models.values().filter(|it| it.details.law_depends_on_pass).map(|model| {
        format!(
            "{} rounds activations pass by pass: a chain that verifies with it writes texts of nearly, \
             not exactly, its law (as a draft it is fine)",
            model.details.source
        )
    }));
    for task in tasks {
        for plan in &experiment.decoders {
            let own = |r: &&Record| r.task == task.name && r.decoder == plan.name;
            let own: Vec<&Record> = records.iter().filter(own).collect();
            said.extend(of_arm(task, &plan.name, &own));
        }
    }
    said.extend(experiment.decoders.iter().filter_map(|plan| adapted(&plan.name, records)));
    said
}

/// The items that failed: they are not in the numbers.
pub(super) fn failed(finished: &Finished) -> Option<String> {
    let first = finished.failures.first()?;
    let failed = finished.failures.len();
    Some(format!(
        "{failed} items × decoders failed and are in none of the numbers; the same command tries them again. The \
         first failure: {first:#}"
    ))
}

/// Prompts that do not fit, texts that are cut off, and extractors that find nothing at all: more likely
/// the wrong ones than the models hopeless.
fn of_arm(task: &Task, decoder: &str, own: &[&Record]) -> Vec<String> {
    let mut said = Vec::new();
    let (all, name) = (own.len(), &task.name);
    let long = own.iter().filter(|record| record.stop == PROMPT_TOO_LONG).count();
    if long > 0 {
        said.push(format!(
            "{long} of {all} prompts of {name} do not fit the context of `{decoder}`: those items have \
             no answer"
        ));
    }
    let Grading::Answer(extractor) = &task.grading else { return said };
    let texts = all - long;
    let at_limit = Stop::MaxTokens.to_string();
    let cut = own.iter().filter(|record| record.stop == at_limit).count();
    if 2 * cut > texts {
        said.push(format!(
            "{cut} of {texts} texts of `{decoder}` on {name} were cut off at `max_new_tokens`: where no \
             answer is stated, what is read there is no more than the last so far"
        ));
    }
    if texts > 0 && own.iter().all(|record| record.answer.is_none()) {
        said.push(format!(
            "`{extractor}` found no answer in any of the {texts} texts of `{decoder}` on {name}: look at \
             some in report.html; if answers are there, the prompt asks for another form than the \
             extractor reads, and if they are cut off, `max_new_tokens` is too small"
        ));
    }
    said
}

/// How often a decoder changed its way on the way.
fn adapted(decoder: &str, records: &[Record]) -> Option<String> {
    let own = || records.iter().filter(|record| record.decoder == decoder);
    let changed = own().filter(|record| !record.remarks.is_empty()).count();
    let says = |record: &&Record| record.remarks.iter().any(|r| r.contains("plain decoding: "));
    let plainly = own().filter(says).count();
    (changed > 0).then(|| {
        format!(
            "`{decoder}` adapted its lengths in {changed} of {} items and gave up speculation for a \
             while in {plainly}: see `remarks` in records.jsonl",
            own().count()
        )
    })
}
