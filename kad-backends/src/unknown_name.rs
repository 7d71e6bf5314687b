//! The error for a name that is none of the known ones, and the search for similar names.

/// A name that is none of the known ones. The message offers the most similar one.
///
/// ```
/// use kad_backends::Backend;
/// let error = "candel".parse::<Backend>().unwrap_err();
/// let message = "unknown backend `candel`; did you mean `candle`? known: candle, burn, tch, ort, naive";
/// assert_eq!(error.to_string(), message);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{given}`; {}known: {}", offer(given, known), listed(known))]
pub struct UnknownName {
    /// Kind of name: "backend", "device", "dtype", "nano model".
    pub kind: &'static str,
    /// The given name.
    pub given: String,
    /// All known names.
    pub known: Vec<String>,
}

/// The names, separated by commas.
pub(crate) fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn offer(given: &str, known: &[String]) -> String {
    let near = nearest(given, known.iter().map(String::as_str), 1);
    near.first().map_or(String::new(), |near| format!("did you mean `{near}`? "))
}

/// At most `count` of `names` that resemble `wanted`, the most similar first.
///
/// Similarity is 1 − (edit distance with transpositions) / (length of the longer name). Names
/// resemble each other from 0.7 on, or if one begins with the other and has three letters or more.
///
/// ```
/// let near = kad_backends::nearest("smal-base", ["large-base", "small-base"].into_iter(), 1);
/// assert_eq!(near, ["small-base"]);
/// ```
pub fn nearest<'a>(
    wanted: &str,
    names: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    const SIMILAR: f64 = 0.7;
    let begins = |long: &str, short: &str| short.len() >= 3 && long.starts_with(short);
    let scored = names.map(|name| {
        let score = strsim::normalized_damerau_levenshtein(wanted, name);
        let related = begins(wanted, name) || begins(name, wanted);
        (if related { score.max(SIMILAR) } else { score }, name)
    });
    let mut near: Vec<_> = scored.filter(|(score, _)| *score >= SIMILAR).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(count).map(|(_, name)| name).collect()
}
