//! The test suite of the tensor libraries, called from a short file for each.

#![expect(clippy::print_stdout, reason = "measured differences are for the record")]

use kad_backends::decoder::spec::DecoderSpec;
use kad_backends::{Dtype, StoredType, naive};
use kad_core::testing::conformance::{Report, check, worst_difference};
use kad_core::{LanguageModel, LogitRows, TokenId};

use crate::support::backends::{BackendCase, SEED};
use crate::support::tiny;
use crate::trees::{keep_paths, tokens, tree, tree_rows};

/// The suite as the tests of one backend, in every dtype of the list.
macro_rules! suite {
    ($all:expr) => {
        #[test]
        fn conforms_and_agrees_with_naive() {
            for library in $all {
                // Not batch invariant; the report says so.
                library.conforms();
            }
        }

        #[test]
        fn dequantises_quantised_files() {
            $all.iter().for_each(BackendCase::dequantises);
        }

        #[test]
        fn texts_and_trees_of_several_chunks_agree_with_naive() {
            $all.iter().for_each(BackendCase::agrees_with_naive_at_any_length);
        }

        #[test]
        fn kept_paths_leave_the_session_unchanged() {
            $all.iter().for_each(BackendCase::keeps_paths);
        }

        #[test]
        fn early_exits_equal_models_with_fewer_layers() {
            $all.iter().for_each(BackendCase::exits_early);
        }

        #[test]
        fn contradictory_models_are_refused() {
            $all.iter().for_each(BackendCase::refuses);
        }
    };
}

pub(crate) use suite;

impl BackendCase {
    /// Conformance and agreement with naive for every family; returns the largest differences.
    pub(crate) fn conforms(&self) -> Report {
        let reports: Vec<Report> = tiny::all()
            .iter()
            .map(|spec| {
                let report = self.check(spec);
                println!("{} {}, {}: {report:?}", self.name, self.dtype, spec.family);
                assert!(report.trees);
                report
            })
            .collect();
        let worst = |of: fn(&Report) -> f64| reports.iter().map(of).fold(0.0, f64::max);
        let worst = Report {
            passes: worst(|report| report.passes),
            in_trees: worst(|report| report.in_trees),
            reference: worst(|report| report.reference),
            largest: worst(|report| report.largest),
            batch_invariant: reports.iter().all(|report| report.batch_invariant),
            ..reports[0]
        };
        println!("{} {}, worst of all: {worst:?}", self.name, self.dtype);
        worst
    }

    /// Quantised files are the model of their dequantised weights.
    pub(crate) fn dequantises(&self) {
        use StoredType::{BF16, F16, Q4_0, Q4_1, Q4K, Q5_0, Q5K, Q6K, Q8_0};
        let spec = tiny::gguf_llama();
        for types in [vec![Q4_0, Q4_1, Q5_0, Q8_0], vec![Q4K, Q5K, Q6K], vec![F16, BF16]] {
            let weights = tiny::weights(&spec, &types, SEED);
            let reference = naive::load("naive", &spec, &weights, tiny::vocab()).unwrap();
            let model = self.model(&spec, &weights);
            let tokens = tokens(30);
            let worst = worst_difference(&rows(&*model, &tokens), &rows(&*reference, &tokens));
            println!("{} {}, {types:?}: {worst:.2e}", self.name, self.dtype);
            assert!(worst <= self.dequantised, "{types:?}: {worst:e}");
        }
    }

    /// Prompts and trees of several chunks, a growing cache, and the whole context length.
    pub(crate) fn agrees_with_naive_at_any_length(&self) {
        for spec in tiny::all() {
            let weights = tiny::weights(&spec, self.stored, SEED);
            let (model, slow) = (
                self.model(&spec, &weights),
                naive::load("naive", &spec, &weights, tiny::vocab()).unwrap(),
            );
            let text = tokens(spec.context_len);
            let (found, expected) = (rows(&*model, &text), rows(&*slow, &text));
            let long = worst_difference(&found, &expected);
            // Requested rows that start in one chunk and end in the next.
            let mut last = LogitRows::new(model.vocab().size());
            model.start().unwrap().extend(&text[..148], 50, &mut last).unwrap();
            let mut same = LogitRows::new(model.vocab().size());
            (98..148).for_each(|row| same.push_row(expected.row(row)));
            let wanted = worst_difference(&last, &same);
            let (held, tree) = (tokens(60), tree(200));
            let wide = worst_difference(
                &tree_rows(&*model, &held, &tree),
                &tree_rows(&*slow, &held, &tree),
            );
            println!(
                "{} {}, {}: {long:.2e} in a long text, {wanted:.2e}, {wide:.2e} in a wide tree",
                self.name, self.dtype, spec.family
            );
            let allowed = self.tolerance.reference;
            assert!(long <= allowed && wanted <= allowed && wide <= allowed, "{}", spec.family);
        }
    }

    /// After rounds of kept paths, a session agrees with one without trees.
    pub(crate) fn keeps_paths(&self) {
        for spec in tiny::all() {
            let model = self.model(&spec, &tiny::weights(&spec, self.stored, SEED));
            let mut session = model.start().unwrap();
            let mut out = LogitRows::new(model.vocab().size());
            session.extend(&tokens(5), 0, &mut out).unwrap();
            keep_paths(&mut *session, &mut out);
            let text = [session.tokens(), &[3]].concat();
            out.clear();
            session.extend(&[3], 1, &mut out).unwrap();
            let mut expected = LogitRows::new(model.vocab().size());
            model.start().unwrap().extend(&text, 1, &mut expected).unwrap();
            let worst = worst_difference(&out, &expected);
            assert!(worst <= self.tolerance.passes, "{}: {worst:e}", spec.family);
        }
    }

    /// An early exit has the bits of a model with fewer layers, may outlive the model, and
    /// conforms.
    pub(crate) fn exits_early(&self) {
        for spec in tiny::all() {
            let whole = DecoderSpec { layers: 2, ..spec };
            let weights = tiny::weights(&whole, self.stored, SEED);
            let model = self.model(&whole, &weights);
            let (all, exit) = (rows(&*model, &tokens(9)), model.early_exit("exit", 1).unwrap());
            drop(model);
            let short = self.model(&DecoderSpec { layers: 1, ..whole.clone() }, &weights);
            assert_eq!((exit.name(), exit.spec()), ("exit", short.spec()));
            assert!(rows(&*exit, &tokens(9)) == rows(&*short, &tokens(9)), "{}", whole.family);
            assert!(rows(&*exit, &tokens(9)) != all, "the second layer does nothing");
            assert!(exit.early_exit("none", 1).is_err());
            check(&*exit, None, self.tolerance, SEED);
        }
    }

    /// Contradictory models and quantised dtypes are refused at load.
    pub(crate) fn refuses(&self) {
        let spec = tiny::llama();
        let weights = tiny::weights(&spec, &[], SEED);
        let refusal = |spec: &DecoderSpec, dtype| {
            let load = self.load;
            load("m", spec, &weights, tiny::vocab(), dtype).err().map(|error| error.to_string())
        };
        assert_eq!(refusal(&spec, self.dtype), None);
        let cases = [
            (DecoderSpec { layers: 3, ..spec.clone() }, "input_layernorm.weight` is missing"),
            (DecoderSpec { tied_head: false, ..spec.clone() }, "`lm_head.weight` is missing"),
            (DecoderSpec { ffn: 55, ..spec.clone() }, "has shape [56, 40]"),
            (DecoderSpec { vocab_rows: 48, ..spec.clone() }, "the tokenizer has 49"),
        ];
        for (spec, expected) in cases {
            let message = refusal(&spec, self.dtype).unwrap();
            assert!(message.contains(expected), "{message}");
        }
        for dtype in [Dtype::Quantized, Dtype::Q8_0, Dtype::Q4_0] {
            let message = refusal(&spec, dtype).unwrap();
            let expected = format!("{dtype} with the {} backend; supported: auto, f32", self.name);
            assert!(message.contains(&expected), "{message}");
        }
    }
}

fn rows(model: &dyn LanguageModel, tokens: &[TokenId]) -> LogitRows {
    let mut out = LogitRows::new(model.vocab().size());
    model.start().unwrap().extend(tokens, tokens.len(), &mut out).unwrap();
    out
}
