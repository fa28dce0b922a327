//! Compares the real vocabularies of Qwen2 and Qwen3.5 with llama.cpp's test vectors.
//!
//! Hugging Face and this engine compose characters (NFC), llama.cpp does not. Texts that NFC changes therefore
//! have other tokens: they are returned and counted, and only their decoded text is compared.

use engine::gguf::GgufFile;
use engine::text::Tokenizer;
use unicode_normalization_alignments::UnicodeNormalization;

use crate::shared;

/// Checks a vocabulary's test vectors. Returns the texts that NFC changes.
fn run(name: &str) -> Option<Vec<String>> {
    let file = GgufFile::open(shared(name)?).unwrap();
    let tokenizer = Tokenizer::from_gguf(&file).unwrap();
    let inputs = std::fs::read_to_string(shared(&format!("{name}.inp"))?).unwrap();
    let outputs = std::fs::read_to_string(shared(&format!("{name}.out"))?).unwrap();
    let mut inputs: Vec<&str> = inputs.split("\n__ggml_vocab_test__\n").collect();
    assert_eq!(inputs.pop(), Some(""), "the last text has no end mark");
    let outputs: Vec<&str> = outputs.lines().collect();
    assert_eq!(inputs.len(), outputs.len());
    let mut composed = Vec::new();
    let mut checked = 0;
    for (input, output) in inputs.iter().zip(&outputs) {
        let expected: Vec<u32> = output.split_whitespace().map(|id| id.parse().unwrap()).collect();
        let tokens = tokenizer.encode(input).unwrap();
        let nfc: String = input.nfc().map(|(char, _)| char).collect();
        assert_eq!(tokenizer.decode(&tokens), nfc, "{input:?}");
        if nfc == *input {
            assert_eq!(tokens, expected, "{input:?}");
            checked += 1;
        } else {
            assert_ne!(tokens, expected, "{input:?}");
            assert_eq!(tokenizer.decode(&expected), *input, "{input:?}");
            composed.push((*input).to_owned());
        }
    }
    assert!(checked >= 40, "{checked} of {}", inputs.len());
    println!("{name}: {checked} vectors agree; NFC changes {composed:?}");
    Some(composed)
}

#[test]
fn qwen2() {
    let Some(composed) = run("ggml-vocab-qwen2.gguf") else { return };
    assert!(composed.len() <= 2, "{composed:?}");
}

#[test]
fn qwen35() {
    let Some(composed) = run("ggml-vocab-qwen35.gguf") else { return };
    assert!(composed.len() <= 6, "{composed:?}");
}

#[test]
fn special_tokens_of_the_qwen2_vocabulary_are_encoded() {
    let Some(path) = shared("ggml-vocab-qwen2.gguf") else { return };
    let tokenizer = Tokenizer::from_gguf(&GgufFile::open(path).unwrap()).unwrap();
    assert_eq!(
        tokenizer.encode("<|im_start|>user\nHi<|im_end|>\n").unwrap(),
        [151_644, 872, 198, 13_048, 151_645, 198]
    );
    assert_eq!(tokenizer.ends(), [151_643, 151_645]);
    assert_eq!(tokenizer.decode(&[151_644, 872, 151_645, 13_048]), "userHi");
}

#[test]
fn a_large_text_is_tokenized_in_reasonable_time() {
    let Some(path) = shared("ggml-vocab-qwen2.gguf") else { return };
    let tokenizer = Tokenizer::from_gguf(&GgufFile::open(path).unwrap()).unwrap();
    let prose = "The worker renews its lease; 任务 waits in the queue, ça va? 🦙\n".repeat(15_000);
    for text in [prose, " ".repeat(1_000_000), "a".repeat(1_000_000), "<|im_".repeat(200_000)] {
        let started = std::time::Instant::now();
        let tokens = tokenizer.encode(&text).unwrap();
        println!("{} bytes, {} tokens: {:?}", text.len(), tokens.len(), started.elapsed());
        assert_eq!(tokenizer.decode(&tokens), text);
        assert!(started.elapsed().as_secs() < 20);
    }
}
