//! What tasks there are.

/// A kind of task, as `kad tasks list` and the documents show it.
pub(crate) struct Entry {
    /// As `kind` in a file.
    pub(crate) name: &'static str,
    pub(crate) measures: &'static str,
    pub(crate) metric: &'static str,
    /// How many the published file has; 0 if that is up to the user.
    pub(crate) items: u64,
    /// Where it lies in the data folder; none if it needs no data folder.
    pub(crate) file: Option<&'static str>,
    /// Where the hub has it, in a form that is read.
    pub(crate) hub: Option<Published>,
    pub(crate) licence: &'static str,
    /// Where the file comes from.
    pub(crate) get: &'static str,
    /// Keys of its own, beside `items`, `name`, `format` and `shots`.
    pub(crate) keys: &'static str,
}

/// A set's tables in a dataset of the hub. Names of files are found by their splits: they have had
/// digests in them, and may again be cut into more parts.
pub(crate) struct Published {
    pub(crate) repo: &'static str,
    /// Of the repository; empty for its top.
    pub(crate) folder: &'static str,
    /// The splits that hold the items of the set, in this order.
    pub(crate) items: &'static [&'static str],
    /// The split that worked examples are from.
    pub(crate) examples: Option<&'static str>,
}

impl Published {
    /// As the documents name it: `openai/gsm8k, main, splits test and train`.
    pub(crate) fn place(&self) -> String {
        let splits = self.items.iter().copied().chain(self.examples).collect::<Vec<_>>();
        let folder = Some(self.folder).filter(|folder| !folder.is_empty());
        let words = [Some(self.repo), folder].into_iter().flatten();
        format!("{}: {}", words.collect::<Vec<_>>().join("/"), splits.join(", "))
    }
}

const OURS: &str = "MIT or Apache-2.0";

/// Every kind of task, in the order of documents.
pub(crate) const CATALOGUE: [Entry; 13] = [
    Entry {
        name: "nano",
        measures: "word problems of the shipped small world",
        metric: "accuracy",
        items: 2100,
        file: None,
        hub: None,
        licence: OURS,
        get: "kad itself (experiments/nano/data)",
        keys: "split = \"validation\" | \"test\"",
    },
    Entry {
        name: "gsm8k",
        measures: "grade-school word problems, steps and a number",
        metric: "accuracy",
        items: 1319,
        file: Some("gsm8k/test.jsonl"),
        hub: Some(Published {
            repo: "openai/gsm8k",
            folder: "main",
            items: &["test"],
            examples: Some("train"),
        }),
        licence: "MIT",
        get: "github.com/openai/grade-school-math (grade_school_math/data)",
        keys: "",
    },
    Entry {
        name: "math500",
        measures: "competition mathematics, a formula in a box",
        metric: "accuracy",
        items: 500,
        file: Some("math500/test.jsonl"),
        hub: Some(Published {
            repo: "HuggingFaceH4/MATH-500",
            folder: "",
            items: &["test"],
            examples: None,
        }),
        licence: "MIT",
        get: "the hub's HuggingFaceH4/MATH-500, split test",
        keys: "",
    },
    Entry {
        name: "svamp",
        measures: "word problems that differ in what is asked",
        metric: "accuracy",
        items: 1000,
        file: Some("svamp/SVAMP.json"),
        hub: Some(Published {
            repo: "ChilleD/SVAMP",
            folder: "data",
            items: &["train", "test"],
            examples: None,
        }),
        licence: "MIT",
        get: "github.com/arkilpatel/SVAMP",
        keys: "",
    },
    Entry {
        name: "arc_challenge",
        measures: "science questions, multiple choice",
        metric: "accuracy",
        items: 1172,
        file: Some("arc_challenge/test.jsonl"),
        hub: Some(Published {
            repo: "allenai/ai2_arc",
            folder: "ARC-Challenge",
            items: &["test"],
            examples: Some("train"),
        }),
        licence: "CC-BY-SA 4.0",
        get: "the hub's allenai/ai2_arc, ARC-Challenge, split test",
        keys: CHOOSING,
    },
    Entry {
        name: "commonsense_qa",
        measures: "everyday knowledge, multiple choice",
        metric: "accuracy",
        items: 1221,
        file: Some("commonsense_qa/validation.jsonl"),
        hub: Some(Published {
            repo: "tau/commonsense_qa",
            folder: "data",
            items: &["validation"],
            examples: Some("train"),
        }),
        licence: "MIT",
        get: "the hub's tau/commonsense_qa, split validation",
        keys: CHOOSING,
    },
    Entry {
        name: "truthfulqa",
        measures: "questions that people answer wrongly, multiple choice",
        metric: "mc1: accuracy; mc2: probability of the true options",
        items: 790,
        file: Some("truthfulqa/mc_task.json"),
        hub: Some(Published {
            repo: "truthfulqa/truthful_qa",
            folder: "multiple_choice",
            items: &["validation"],
            examples: None,
        }),
        licence: "Apache-2.0",
        get: "github.com/sylinrl/TruthfulQA (data/mc_task.json)",
        keys: "metric = \"mc1\" | \"mc2\"; by = \"likelihood\" | \"answer\"",
    },
    Entry {
        name: "mmlu",
        measures: "knowledge in 57 subjects, multiple choice",
        metric: "accuracy",
        items: 14_042,
        file: Some("mmlu/test.jsonl"),
        hub: Some(Published {
            repo: "cais/mmlu",
            folder: "all",
            items: &["test"],
            examples: Some("dev"),
        }),
        licence: "MIT",
        get: "the hub's cais/mmlu, all, splits test and dev",
        keys: "subject = NAME or a list; by = \"answer\" | \"likelihood\"; shuffle = true",
    },
    Entry {
        name: "spec_bench",
        measures: "speed on prompts of six kinds, some of two turns",
        metric: "speed",
        items: 480,
        file: Some("spec_bench/question.jsonl"),
        hub: None,
        licence: "Apache-2.0",
        get: "github.com/hemingkx/Spec-Bench (data/spec_bench)",
        keys: "part = NAME or a list",
    },
    Entry {
        name: "mt_bench",
        measures: "speed on conversations of two turns",
        metric: "speed",
        items: 80,
        file: Some("mt_bench/question.jsonl"),
        hub: Some(Published {
            repo: "HuggingFaceH4/mt_bench_prompts",
            folder: "data",
            items: &["train"],
            examples: None,
        }),
        licence: "Apache-2.0",
        get: "github.com/lm-sys/FastChat (fastchat/llm_judge/data/mt_bench)",
        keys: "category = NAME or a list",
    },
    Entry {
        name: "humaneval",
        measures: "speed on heads of Python functions; nothing is run",
        metric: "speed",
        items: 164,
        file: Some("humaneval/HumanEval.jsonl"),
        hub: Some(Published {
            repo: "openai/openai_humaneval",
            folder: "openai_humaneval",
            items: &["test"],
            examples: None,
        }),
        licence: "MIT",
        get: "github.com/openai/human-eval (data, unpacked)",
        keys: "",
    },
    Entry {
        name: "perplexity",
        measures: "how likely the decoder's distribution holds a text",
        metric: "perplexity per token, bits per byte",
        items: 0,
        file: None,
        hub: None,
        licence: "of your text",
        get: "a text file of yours",
        keys: "file = PATH; piece_bytes = 2000",
    },
    Entry {
        name: "jsonl",
        measures: "items of your own",
        metric: "accuracy, or speed",
        items: 0,
        file: None,
        hub: None,
        licence: "of your file",
        get: "a file of yours, one JSON object a line",
        keys: "file = PATH; prompt, answer, id = TEMPLATE; system = TEXT; extractor = NAME",
    },
];

const CHOOSING: &str = "by = \"answer\" | \"likelihood\"; shuffle = true";
