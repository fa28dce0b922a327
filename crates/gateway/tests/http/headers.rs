//! Tests the headers of all routes that wait for a task: those that OpenAI's clients read, and those
//! that show the task and its place in the queue.

use protocol::{Completion, Embedding, Outcome, WorkerStatus};
use serde_json::{Value, json};

use crate::openai::{CHAT, COMPLETIONS, EMBEDDINGS, answered, chat, with};
use crate::rig::{Rig, answer};

/// The requests of all routes.
fn requests() -> Vec<(&'static str, Value)> {
    let message = json!({
        "model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": "Why?"}],
    });
    let stream = |body: &Value| with(body.clone(), json!({"stream": true}));
    let prompt = json!({"prompt": "a"});
    let response = json!({"model": "demo", "input": "a"});
    vec![
        (CHAT, stream(&chat(json!({})))),
        (CHAT, chat(json!({}))),
        (COMPLETIONS, stream(&prompt)),
        (COMPLETIONS, prompt),
        ("/v1/responses", stream(&response)),
        ("/v1/responses", response),
        ("/v1/messages", stream(&message)),
        ("/v1/messages", message),
        (EMBEDDINGS, json!({"input": "a"})),
    ]
}

#[test]
fn each_response_names_its_task_its_place_and_its_time() {
    let rig = Rig::start();
    rig.report("demo", WorkerStatus::Ready);
    for (nth, (path, body)) in requests().into_iter().enumerate() {
        let outcome = match path {
            EMBEDDINGS => {
                let embeddings = vec![Embedding(vec![1.0])];
                Outcome::Completed(Completion { embeddings, ..Completion::default() })
            }
            _ => answer("Because."),
        };
        let (reply, claimed) = answered(&rig, path, body, &outcome);
        let case = format!("{path} {reply:?}");
        assert_eq!(reply.status, 200, "{case}");
        assert_eq!(reply.header("x-task-id"), Some(&*claimed.task.id.to_string()), "{case}");
        assert_eq!(reply.header("x-queue-position"), Some("1"), "{case}");
        let seconds = |name: &str| reply.header(name).map(|text| text.parse::<f64>().unwrap());
        assert!(seconds("openai-processing-ms").unwrap() < 30_000.0, "{case}");
        assert!(reply.header("x-request-id").is_some_and(|id| id.len() == 32), "{case}");
        // Nothing is known of the first task's time.
        assert_eq!(seconds("x-queue-eta").is_some(), nth > 0, "{case}");
    }
}
