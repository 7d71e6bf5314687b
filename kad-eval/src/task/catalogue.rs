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
    pub(crate) licence: &'static str,
    /// Where the file comes from.
    pub(crate) get: &'static str,
    /// Keys of its own, beside `items`, `name`, `format` and `shots`.
    pub(crate) keys: &'static str,
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
        licence: "MIT",
        get: "github.com/openai/human-eval (data, unpacked)",
        keys: "",
    },
    Entry {
        name: "perplexity",
        measures: "how likely the decoder's law holds a text",
        metric: "perplexity per token, bits per byte",
        items: 0,
        file: None,
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
        licence: "of your file",
        get: "a file of yours, one JSON object a line",
        keys: "file = PATH; prompt, answer, id = TEMPLATE; system = TEXT; extractor = NAME",
    },
];

const CHOOSING: &str = "by = \"answer\" | \"likelihood\"; shuffle = true";
