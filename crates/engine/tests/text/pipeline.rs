//! Compares the tokenizer with Hugging Face's pipeline, built from the same metadata.

use engine::gguf::GgufFile;
use engine::text::Tokenizer;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use crate::{fixture, shared};

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn hugging_face(file: &GgufFile, pattern: &str) -> tokenizers::Tokenizer {
    let tokens: &[String] = file.require("tokenizer.ggml.tokens").unwrap();
    let types: &[i64] = file.require("tokenizer.ggml.token_type").unwrap();
    let merges: &[String] = file.require("tokenizer.ggml.merges").unwrap();
    let merges = merges.iter().map(|line| {
        let (left, right) = line.split_once(' ').unwrap();
        (left.to_owned(), right.to_owned())
    });
    let vocabulary: tokenizers::models::bpe::Vocab =
        (0..).zip(tokens).map(|(id, text)| (text.clone(), id)).collect();
    let bpe = BPE::builder().vocab_and_merges(vocabulary, merges.collect()).build().unwrap();
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    let split = SplitPattern::Regex(pattern.to_owned());
    let split = Split::new(split, SplitDelimiterBehavior::Isolated, false).unwrap();
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        PreTokenizerWrapper::Split(split),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)),
    ])));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.with_normalizer(Some(NFC)).unwrap();
    let added = tokens.iter().zip(types).filter(|(_, kind)| matches!(kind, 3 | 4));
    let added: Vec<AddedToken> = added
        .map(|(text, kind)| AddedToken::from(text.as_str(), *kind == 3).normalized(false))
        .collect();
    tokenizer.add_tokens(added).unwrap();
    tokenizer
}

/// Compares both on `texts` random texts, made of parts that matter to the split, to NFC or to special tokens.
fn compare(file: &GgufFile, pattern: &str, texts: usize) {
    let (ours, theirs) = (Tokenizer::from_gguf(file).unwrap(), hugging_face(file, pattern));
    let parts = [
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u{a0}",
        "\u{3000}",
        "\u{85}",
        "a",
        "B",
        "the",
        "é",
        "e\u{301}",
        "ß",
        "ſ",
        "'",
        "'s",
        "'S",
        "'ſ",
        "'LL",
        "'re",
        "’s",
        "1",
        "23",
        "²",
        "Ⅷ",
        "٣",
        "½",
        "!",
        "?!",
        ".",
        "_",
        "-",
        "€",
        "🦙",
        "👩\u{200d}💻",
        "日本",
        "한",
        "\u{1112}\u{1161}",
        "का",
        "\u{301}",
        "\u{323}\u{307}",
        "ﬁ",
        "ǆ",
        "ⓐ",
        "ͅ",
        "\u{345}",
        "\u{200b}",
        "\u{feff}",
        "\u{0}",
        "\u{7f}",
        "\u{2028}",
        "\u{180e}",
        "\u{ad}",
        "<|im_start|>",
        "<|im_end|>",
        "<think>",
        "</think>",
        "<|im_",
        "start|>",
        "<",
        "|",
        "Ġ",
        "\u{212b}",
        "\u{fdd0}",
        "𝟘",
        "\u{10ffff}",
    ];
    let mut random = StdRng::seed_from_u64(11);
    for _ in 0..texts {
        let text: String = (0..random.random_range(0..14))
            .map(|_| parts[random.random_range(0..parts.len())])
            .collect();
        let expected = theirs.encode_fast(text.as_str(), false).unwrap();
        let tokens = ours.encode(&text).unwrap();
        assert_eq!(tokens, expected.get_ids(), "{text:?} {:?}", expected.get_tokens());
        assert_eq!(ours.decode(&tokens), theirs.decode(&tokens, true).unwrap(), "{text:?}");
    }
}

#[test]
fn tiny_vocabulary_matches_the_hugging_face_pipeline() {
    compare(&GgufFile::open(fixture("qwen3/qwen3-f32.gguf")).unwrap(), QWEN2, 4_000);
}

#[test]
fn real_vocabularies_match_the_hugging_face_pipeline() {
    for (name, pattern) in [("ggml-vocab-qwen2.gguf", QWEN2), ("ggml-vocab-qwen35.gguf", QWEN35)] {
        let Some(path) = shared(name) else { continue };
        compare(&GgufFile::open(path).unwrap(), pattern, 3_000);
    }
}
