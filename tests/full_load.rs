//! Many more tasks than a worker has room for, each as long as its context: all complete.

use std::thread;
use std::time::Duration;

use harness::models;
use harness::system::{Plan, System};
use serde_json::{Value, json};

const TASKS: usize = 200;
/// The context length of the fixture's model.
const CONTEXT: u64 = 1024;

fn asking(prompt: &str) -> Value {
    json!({ "prompt": prompt, "max_tokens": CONTEXT, "temperature": 0.0 })
}

/// Returns the tokens of prompt and answer together, and the cached tokens of the prompt.
fn used(answer: &Value) -> (u64, u64) {
    let metric = |name: &str| answer["metrics"][name].as_u64().expect("a metric");
    (metric("prompt_tokens") + metric("completion_tokens"), metric("cached_tokens"))
}

#[test]
fn two_hundred_tasks_at_full_context_complete_on_a_worker_with_room_for_eight() {
    let model = models::fixture("qwen3/qwen3-q8_0.gguf");
    let plan = Plan {
        model: model.to_str().expect("a path in UTF-8"),
        workers: 1,
        lease: Duration::from_secs(10),
        // The pool has pages for as many full contexts as run at once.
        settings: &[("MAX_BATCH_SIZE", "8"), ("TASK_TIME_LIMIT", "600")],
    };
    let system = System::start(&plan);
    let wait = Duration::from_secs(300);

    // Finds a prompt longer than a page whose answer reaches the context length.
    let endless = (0..50)
        .map(|n| format!("Tell me {n}, and take all the time that you need for it"))
        .find(|prompt| {
            let task = system.client.submit(&asking(prompt));
            used(&system.client.wait_for_result(&task, wait).body).0 == CONTEXT
        });
    let endless = endless.expect("no prompt whose answer reaches the context length");

    let tasks: Vec<String> = (0..TASKS).map(|_| system.client.submit(&asking(&endless))).collect();
    let mut text = None;
    for task in &tasks {
        let answer = system.client.wait_for_result(task, wait).body;
        assert_eq!(answer["status"], "completed", "{answer}");
        let (tokens, cached) = used(&answer);
        assert_eq!(tokens, CONTEXT);
        assert!(cached > 0, "its prompt was not cached: {}", answer["metrics"]);
        let text = text.get_or_insert_with(|| answer["result"].clone());
        assert_eq!(answer["result"], *text, "the same prompt got another answer");
    }
    // Each task ended once, and none started twice.
    for _ in 0..50 {
        if system.lines().len() > TASKS {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let lines = system.lines();
    assert!(tasks.iter().all(|task| lines.iter().filter(|line| line.task == *task).count() == 1));
    assert!(tasks.iter().all(|task| !system.workers[0].began(task, 2)));
}
