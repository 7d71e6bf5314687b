//! Extractors: they read the answer in a text.
//!
//! Every extractor gives a canonical form, so that answers are compared as strings: one spelling
//! per number, formula and option. No answer is `None`, which is never equal to a gold answer.

mod boxed;
mod math;
mod number;
mod option;

use std::mem::discriminant;
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

pub(crate) use option::letter;

/// Reads the answer in a text.
///
/// ```
/// use kad_eval::task::Extractor;
///
/// // The second argument is the number of options of a multiple-choice question.
/// let read = |extractor: Extractor, text: &str| extractor.read(text, 4);
///
/// let text = "The answer is 1,234. It has 4 digits.";
/// assert_eq!(read(Extractor::Number, text).as_deref(), Some("1234"));
/// assert_eq!(read(Extractor::Number, "half of it: 1/2").as_deref(), Some("0.5"));
///
/// assert_eq!(read(Extractor::StatedNumber, "The answer is 7.").as_deref(), Some("7"));
/// assert_eq!(read(Extractor::StatedNumber, "so it is 7"), None);
///
/// assert_eq!(read(Extractor::Boxed, r"so $\boxed{\frac12}$").as_deref(), Some("0.5"));
/// assert_eq!(read(Extractor::Boxed, r"\boxed{x = 2\pi}").as_deref(), Some(r"2\pi"));
///
/// assert_eq!(read(Extractor::Option, "I think the answer is (B).").as_deref(), Some("B"));
/// assert_eq!(read(Extractor::Option, "The answer is E."), None, "there are four options");
///
/// assert_eq!(read(Extractor::Line, "\n yes \n no").as_deref(), Some("yes"));
/// assert_eq!(read(Extractor::Text, " a b\n").as_deref(), Some("a b"));
///
/// let city = Extractor::pattern(r"capital is (\w+)")?;
/// assert_eq!(read(city, "Its capital is Paris.").as_deref(), Some("Paris"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub enum Extractor {
    /// The number of the last statement (`The answer is 5`, `#### 5`, `\boxed{5}`), else the last
    /// number. Named `number`.
    Number,
    /// The number of the last sentence `The answer is N.`, word for word. Named `stated-number`.
    StatedNumber,
    /// The formula in the last `\boxed`, else in the last `answer is $…$`, else the number of the
    /// last `answer is N`. Named `boxed`.
    Boxed,
    /// The letter of the last statement, else the last letter that is neither the article A nor the
    /// pronoun I. Named `option`.
    Option,
    /// The first line that is not empty. Named `line`.
    Line,
    /// The whole text without the space around it. Named `text`.
    Text,
    /// The first group of the last match, or the whole match if there is no group.
    Pattern(Regex),
}

impl Extractor {
    /// The extractors with names in experiment files. A pattern is written `{ regex = "…" }` there.
    pub const NAMED: [(&'static str, Self); 6] = [
        ("number", Extractor::Number),
        ("stated-number", Extractor::StatedNumber),
        ("boxed", Extractor::Boxed),
        ("option", Extractor::Option),
        ("line", Extractor::Line),
        ("text", Extractor::Text),
    ];

    /// The extractor with one of the names in [`NAMED`](Self::NAMED).
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, extractor)| extractor)
    }

    /// The extractor of a regular expression.
    ///
    /// # Errors
    /// Fails if it does not compile.
    pub fn pattern(pattern: &str) -> Result<Self, regex::Error> {
        Regex::new(pattern).map(Extractor::Pattern)
    }

    /// The answer in `text`, in canonical form. `options` is the number of options of a
    /// multiple-choice question; only [`Option`](Self::Option) looks at it.
    pub fn read(&self, text: &str, options: usize) -> Option<String> {
        let found = match self {
            Extractor::Number => number::answer(text),
            Extractor::StatedNumber => number::stated_word_for_word(text),
            Extractor::Boxed => boxed::answer(text),
            Extractor::Option => option::answer(text, options),
            Extractor::Line => {
                text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
            }
            Extractor::Text => Some(text.trim().to_owned()),
            Extractor::Pattern(pattern) => {
                let last = pattern.captures_iter(text).last()?;
                let group = last.get(1).or_else(|| last.get(0))?;
                Some(group.as_str().trim().to_owned())
            }
        };
        found.filter(|answer| !answer.is_empty())
    }

    /// The canonical form of a gold answer, equal to what [`read`](Self::read) gives for a right
    /// reply. `None` if the answer has no such form.
    ///
    /// ```
    /// use kad_eval::task::Extractor;
    ///
    /// assert_eq!(Extractor::Number.gold("1,234.0").as_deref(), Some("1234"));
    /// assert_eq!(Extractor::Option.gold("(b)").as_deref(), Some("B"));
    /// assert_eq!(Extractor::Option.gold("Paris"), None);
    /// ```
    pub fn gold(&self, answer: &str) -> Option<String> {
        let answer = answer.trim();
        match self {
            Extractor::Number | Extractor::StatedNumber => number::answer(answer),
            Extractor::Boxed if answer.contains("\\boxed") || answer.contains("\\fbox") => {
                boxed::answer(answer)
            }
            Extractor::Boxed => {
                let delimiters = ["\\(", "\\)", "\\[", "\\]"];
                let bare =
                    delimiters.iter().fold(answer.to_owned(), |it, mark| it.replace(mark, ""));
                Some(math::canonical(&bare))
            }
            Extractor::Option => option::gold(answer),
            Extractor::Line if answer.contains('\n') => None,
            _ => Some(answer.to_owned()),
        }
        .filter(|gold| !gold.is_empty())
    }
}

/// The name in experiment files; `regex …` for a pattern.
impl std::fmt::Display for Extractor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Extractor::Pattern(pattern) = self {
            return write!(f, "regex {pattern}");
        }
        let same = |(_, named): &&(&str, Self)| discriminant(named) == discriminant(self);
        f.write_str(Self::NAMED.iter().find(same).map_or("", |(name, _)| *name))
    }
}

impl PartialEq for Extractor {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Serialize for Extractor {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The words that state an answer: `The answer is`, `**Answer**:`, `answer =`.
const STATES: &str = r"(?i-u:\banswer\b[*_]*\s*(?:is|are|was|be|=|:)[*_:]*)";

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant, and tests compile it")
}

/// A constant pattern, compiled when it is first used.
type Pattern = LazyLock<Regex>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_extractor() {
        for (name, extractor) in Extractor::NAMED {
            assert_eq!(extractor.to_string(), name);
            assert_eq!(Extractor::named(name), Some(extractor));
        }
        assert!(Extractor::named("numbers").is_none());
    }

    /// E2: published answer formats and their known faults.
    #[test]
    fn golden_answers() {
        let (mut section, mut options, mut cases) = (None, 0, 0);
        for line in include_str!("golden.txt").lines() {
            if let Some(title) = line.strip_prefix("== ") {
                let title = title.strip_suffix(" ==").unwrap();
                let (name, count) = title.split_once(" of ").unwrap_or((title, "0"));
                (section, options) = (Extractor::named(name), count.parse().unwrap());
            } else if !line.is_empty() && !line.starts_with("//") {
                let (text, wanted) = line.rsplit_once(" → ").unwrap();
                let found = section.as_ref().unwrap().read(&text.replace('⏎', "\n"), options);
                assert_eq!(found.as_deref().unwrap_or("∅"), wanted, "{text}");
                cases += 1;
            }
        }
        assert_eq!(cases, 203);
    }

    /// A fault of published code: "no answer" was a string, and equal to "no gold answer".
    #[test]
    fn no_answer_is_never_the_gold_answer() {
        for (name, extractor) in Extractor::NAMED {
            assert_eq!(extractor.read("", 4), None, "{name}");
            assert_eq!(extractor.gold(""), None, "{name}");
            assert_eq!(extractor.gold(" \n"), None, "{name}");
        }
        assert_eq!(Extractor::Number.gold("NaN"), None);
    }

    /// Gold answers are fixed points: a canonical form stays as it is.
    #[test]
    fn gold_answers_are_in_the_form_that_is_read() {
        for (name, golds) in [
            ("number", ["1,234", "-0.50", "3.0"]),
            ("boxed", [r"\frac12", r"x = 5", r"\boxed{\dfrac{1}{2}}"]),
            ("option", ["b", " C ", "D"]),
        ] {
            let extractor = Extractor::named(name).unwrap();
            for gold in golds {
                let once = extractor.gold(gold).unwrap();
                assert_eq!(extractor.gold(&once), Some(once.clone()), "{gold}");
            }
        }
    }

    #[test]
    fn patterns_give_their_first_group() {
        let text = "colour: red; colour: blue";
        for (pattern, wanted) in [
            (r"colour: (\w+)", Some("blue")),
            (r"colour: \w+", Some("colour: blue")),
            (r"shape: (\w+)", None),
        ] {
            let extractor = Extractor::pattern(pattern).unwrap();
            assert_eq!(extractor.read(text, 0).as_deref(), wanted);
        }
    }

    /// A text of one of our runs, and the answer that a person reads in it.
    #[derive(serde::Deserialize)]
    struct Labelled {
        item: String,
        extractor: String,
        options: usize,
        /// Was it cut off at `max_new_tokens`?
        cut: bool,
        label: Option<String>,
        text: String,
    }

    /// 122 texts of Nano and SmolLM2-135M-Instruct and 66 of Qwen2.5-Coder-0.5B-Instruct, labelled
    /// by hand; the 66 by a person who saw neither question nor gold answer nor extracted answer.
    /// Where label and extractor both have an answer, it is the same but for one text, which was
    /// cut off in the middle of a check. The missed answers are formulas neither in a box nor after
    /// `answer is`. In texts without an answer, the extractor reads the last number if the text was
    /// cut off, as published evaluations do, or of a sum without a result.
    #[test]
    fn agreement_with_labels_made_by_hand() {
        let sample: Vec<Labelled> = include_str!("sample.jsonl")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let (mut same, mut missed, mut nothing, mut too_much) = (0, 0, 0, [0, 0]);
        let mut others = Vec::new();
        for Labelled { item, extractor, options, cut, label, text } in &sample {
            let extractor = Extractor::named(extractor).unwrap();
            // A person's spelling is not the canonical one.
            let label = label.as_ref().map(|label| extractor.gold(label).unwrap());
            match (label, extractor.read(text, *options)) {
                (None, None) => nothing += 1,
                (None, Some(_)) => too_much[usize::from(*cut)] += 1,
                (Some(_), None) => missed += 1,
                (Some(label), Some(found)) if found == label => same += 1,
                (Some(label), Some(found)) => others.push(format!("{item}: {label}, not {found}")),
            }
        }
        assert_eq!(others, ["gsm8k test-0014: 20, not 0.2"]);
        assert_eq!((same, missed, nothing, too_much), (128, 3, 33, [1, 22]));
    }
}
