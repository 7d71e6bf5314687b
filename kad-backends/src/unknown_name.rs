//! The error for a name that is none of the known ones, and the search for similar names.

/// A name that is none of the known ones.
///
/// ```
/// use kad_backends::Backend;
/// let error = "torch".parse::<Backend>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown backend `torch`; known: candle, burn, tch, ort, naive");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{given}`; known: {}", listed(known))]
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

/// At most `count` of `names` that resemble `wanted`, the most similar first.
pub(crate) fn nearest<'a>(
    wanted: &str,
    names: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<String> {
    const SIMILAR: f64 = 0.6;
    let scored = names.map(|name| (strsim::normalized_damerau_levenshtein(wanted, name), name));
    let mut near: Vec<_> = scored.filter(|(score, _)| *score >= SIMILAR).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(count).map(|(_, name)| name.to_owned()).collect()
}
