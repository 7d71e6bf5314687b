//! Streaming text, with marks for the model and level that produced each part.

use std::collections::BTreeSet;

use anyhow::Result;
use kad_backends::TokenStream;
use kad_core::decode::{Emitted, Origin};
use owo_colors::{AnsiColors, OwoColorize};

use crate::cli::{GenerateArgs, Show};
use crate::config::DecoderKind;
use crate::output;

pub(super) struct Printer<'a> {
    args: &'a GenerateArgs,
    kind: &'a DecoderKind,
    stream: TokenStream<'a>,
    text: String,
    /// Levels and origins shown so far, for the legend.
    seen: BTreeSet<(usize, Origin)>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(
        args: &'a GenerateArgs,
        kind: &'a DecoderKind,
        stream: TokenStream<'a>,
    ) -> Self {
        Self { args, kind, stream, text: String::new(), seen: BTreeSet::new() }
    }

    /// Prints a token unless it `ends` the text.
    pub(super) fn show(&mut self, emitted: &Emitted, ends: bool) -> Result<()> {
        if ends {
            return Ok(());
        }
        let Emitted { origin, level, .. } = *emitted;
        self.seen.insert((level, origin));
        let piece = self.stream.push(emitted.token);
        self.text.push_str(&piece);
        if self.args.json {
            return Ok(());
        }
        let shown = match self.args.show {
            Some(Show::Provenance) => mark(self.kind, &piece, origin, level),
            None => piece,
        };
        Ok(output::print(&shown)?)
    }

    /// The whole text; prints the rest of it, and the legend.
    pub(super) fn finish(mut self) -> Result<String> {
        let rest = self.stream.finish();
        self.text.push_str(&rest);
        if !self.args.json {
            output::line(&rest)?;
            if self.args.show == Some(Show::Provenance) {
                let kind = self.kind;
                let entry =
                    |&(level, origin)| mark(kind, &meaning(kind, origin, level), origin, level);
                let legend: Vec<String> = self.seen.iter().map(entry).collect();
                output::note(&format!("legend: {}", legend.join(", ")));
            }
        }
        Ok(self.text)
    }
}

fn meaning(kind: &DecoderKind, origin: Origin, level: usize) -> String {
    let (alone, of_level) = match origin {
        Origin::Base => ("kept from base", "drawn by"),
        Origin::Deferred => ("deferred to aligned", "drawn by"),
        Origin::Drafted => ("drafted and accepted", "drafted by"),
        Origin::Corrected => ("corrected", "corrected by"),
        Origin::Bonus => ("bonus", "bonus of"),
        _ => ("drawn from the composed distribution", "drawn by"),
    };
    match kind {
        DecoderKind::Chain(chain) => {
            format!("{of_level} level {level}, {}", chain.level_name(level))
        }
        _ => alone.to_owned(),
    }
}

/// A piece of text with its mark: a colour where stdout has colours, or else brackets, with the
/// level's number if there are more than two levels.
fn mark(kind: &DecoderKind, piece: &str, origin: Origin, level: usize) -> String {
    let plain = anstream::AutoStream::choice(&std::io::stdout()) == anstream::ColorChoice::Never;
    let is_deep = matches!(kind, DecoderKind::Chain(chain) if chain.listed().len() > 1);
    let below = if is_deep { subscript(level) } else { String::new() };
    match (origin, plain) {
        (Origin::Deferred, true) => format!("[{piece}]"),
        (Origin::Deferred, false) => piece.green().underline().to_string(),
        (Origin::Drafted, true) => format!("({piece}){below}"),
        (Origin::Drafted, false) => piece.color(colour(level)).to_string(),
        (Origin::Corrected, true) => format!("[{piece}]{below}"),
        (Origin::Corrected, false) => piece.color(colour(level)).underline().to_string(),
        (Origin::Bonus, true) => format!("{{{piece}}}{below}"),
        (Origin::Bonus, false) => piece.color(colour(level)).italic().to_string(),
        // Drawn by a level without a draft.
        (_, true) if level > 1 => format!("⟨{piece}⟩{below}"),
        (_, false) if level > 1 => piece.color(colour(level)).bold().to_string(),
        _ => piece.to_owned(),
    }
}

/// The colour of a level; colours repeat after the fifth.
fn colour(level: usize) -> AnsiColors {
    use AnsiColors::{Blue, Cyan, Magenta, Red, Yellow};
    const COLOURS: [AnsiColors; 5] = [Yellow, Cyan, Magenta, Blue, Red];
    COLOURS[level.saturating_sub(1) % COLOURS.len()]
}

/// `12` as `₁₂`.
fn subscript(number: usize) -> String {
    let digit = |c: char| c.to_digit(10).and_then(|d| char::from_u32('₀' as u32 + d));
    number.to_string().chars().filter_map(digit).collect()
}
