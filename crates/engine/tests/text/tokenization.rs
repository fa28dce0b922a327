//! Compares the tiny vocabulary with Hugging Face's tokenizers.

use crate::{entries, ids, items, json, text, tiny};

#[test]
fn text_is_encoded_like_hugging_face() {
    let (truth, tokenizer) = (json("text/tokenization.json"), tiny());
    let cases = items(&truth, "encode");
    for case in &cases {
        let input = text(case, "text");
        assert_eq!(tokenizer.encode(&input).unwrap(), ids(case, "ids"), "{input:?}");
    }
    assert!(cases.len() >= 20, "{}", cases.len());
}

#[test]
fn tokens_are_decoded_like_hugging_face_without_control_tokens() {
    let (truth, tokenizer) = (json("text/tokenization.json"), tiny());
    for case in items(&truth, "encode").into_iter().chain(items(&truth, "decode")) {
        let ids = ids(&case, "ids");
        let expected = match case.get_attr("decoded_without_control").unwrap().as_str() {
            Some(text) => text.to_owned(),
            None => text(&case, "decoded"),
        };
        assert_eq!(tokenizer.decode(&ids), expected, "{ids:?}");
    }
}

#[test]
fn special_tokens_are_encoded_as_single_ids() {
    let (truth, tokenizer) = (json("text/tokenization.json"), tiny());
    for (content, id) in entries(&truth, "added_tokens") {
        let id = u32::try_from(id).unwrap();
        assert_eq!(tokenizer.encode(&content).unwrap(), [id]);
        let shown = if content.starts_with("<|") { "" } else { content.as_str() };
        assert_eq!(tokenizer.decode(&[id]), shown);
    }
    assert_eq!(tokenizer.ends(), [503, 505]); // <|endoftext|>, <|im_end|>
    assert!(tokenizer.is_end(505) && !tokenizer.is_end(504));
    assert_eq!(tokenizer.vocabulary().len(), 512);
}
