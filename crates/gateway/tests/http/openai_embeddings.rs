//! Tests `/v1/embeddings`.

use protocol::{Completion, Embedding, ErrorType, Outcome, Prompt, TaskError, TaskKind, Usage};
use serde_json::{Value, json};

use crate::openai::{CHAT, EMBEDDINGS, answered, chat};
use crate::rig::Rig;

fn embedded(vectors: &[&[f32]]) -> Outcome {
    let embeddings = vectors.iter().map(|vector| Embedding(vector.to_vec())).collect();
    let usage = Usage { prompt_tokens: 7, ..Usage::default() };
    Outcome::Completed(Completion { embeddings, usage, ..Completion::default() })
}

#[test]
fn inputs_of_every_form_are_embedded_in_one_task() {
    let rig = Rig::start();
    let raw = |text: &str| Prompt::Raw(text.into());
    let ids = |ids: &[u32]| Prompt::Tokens(ids.to_vec());
    for (input, inputs) in [
        (json!("a"), vec![raw("a")]),
        (json!(["a", "b"]), vec![raw("a"), raw("b")]),
        (json!([1, 2]), vec![ids(&[1, 2])]),
        (json!([[1], [2, 3]]), vec![ids(&[1]), ids(&[2, 3])]),
    ] {
        let body = json!({"model": "demo", "input": input, "dimensions": 2, "user": "u1"});
        let vectors: Vec<&[f32]> = inputs.iter().map(|_| &[0.5, -0.25][..]).collect();
        let (reply, claimed) = answered(&rig, EMBEDDINGS, body, &embedded(&vectors));
        assert_eq!(reply.status, 200, "{reply:?}");
        let count = inputs.len();
        assert_eq!(claimed.task.kind, TaskKind::Embed { inputs, dimensions: Some(2) });
        assert_eq!(claimed.task.user_id.as_deref(), Some("u1"));
        let data = (0..count)
            .map(|index| json!({"object": "embedding", "index": index, "embedding": [0.5, -0.25]}));
        let expected = json!({
            "object": "list", "data": data.collect::<Value>(), "model": "demo",
            "usage": {"prompt_tokens": 7, "total_tokens": 7},
        });
        assert_eq!(reply.json(), expected);
        assert!(reply.header("x-task-id").is_some());
    }
}

#[test]
fn encodings_are_floats_or_base64() {
    let rig = Rig::start();
    for (encoding, expected) in [
        (json!(null), json!([1.0, -0.5])),
        (json!("float"), json!([1.0, -0.5])),
        (json!("base64"), json!("AACAPwAAAL8=")),
    ] {
        let body = json!({"model": "demo", "input": "a", "encoding_format": encoding});
        let (reply, _) = answered(&rig, EMBEDDINGS, body, &embedded(&[&[1.0, -0.5]]));
        assert_eq!(reply.json()["data"][0]["embedding"], expected);
    }
}

#[test]
fn invalid_requests_are_refused_by_name() {
    let rig = Rig::start();
    for (body, param) in [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": ["a", ""]}), "input.1"),
        (json!({"input": "a", "dimensions": 0}), "dimensions"),
        (json!({"input": "a", "encoding_format": "hex"}), "encoding_format"),
    ] {
        let reply = rig.client().post(EMBEDDINGS, &body);
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{body}");
    }
}

#[test]
fn a_model_that_cannot_do_it_is_the_wrong_parameter() {
    let rig = Rig::start();
    let failed = |message: &str, param: &Value| {
        let error = TaskError::new(ErrorType::InvalidRequest, message);
        Outcome::Failed(TaskError { param: param.as_str().map(str::to_owned), ..error })
    };
    // The messages of the worker.
    let no_embeddings = "the model demo generates text and makes no embeddings: choose an embedding \
                         model, such as Qwen3-Embedding";
    let only_embeddings = "the model demo makes embeddings and generates no text: choose another \
                           model, or ask it for embeddings";
    let input = json!({"input": "a"});
    for (path, body, message, param) in [
        (EMBEDDINGS, input.clone(), no_embeddings, json!("model")),
        (EMBEDDINGS, input, "inputs[1]: the text is empty", json!("input")),
        (CHAT, chat(json!({})), only_embeddings, json!("model")),
        (CHAT, chat(json!({})), "the chat template refuses it", json!(null)),
    ] {
        let (reply, _) = answered(&rig, path, body, &failed(message, &param));
        let error = json!({
            "message": message, "type": "invalid_request_error", "param": param, "code": null,
        });
        assert_eq!((reply.status, reply.json()), (400, json!({ "error": error })));
    }
}
