//! The result cache: which tasks are answered from it, and that nobody can tell the answers apart.

use std::time::Duration;

use chat::{Constraint, Message, Sampling, Tool};
use protocol::{
    AnswerForm, CacheStatus, Completion, EventBody, FinishReason, Outcome, Part, Prompt, Reuse,
    SkillUse, Task, TaskId, TenantId, ToolCall,
};
use queue::ResultCacheSize;
use serde_json::json;

use crate::library::{PIXELS, asking, picture, seeing, store};
use crate::rig::{Rig, slow};

const MODEL: &str = "qwen3/qwen3-q8_0.gguf";
const ON: (&str, &str) = ("RESULT_CACHE", "on");
const HIT: Option<CacheStatus> = Some(CacheStatus::Hit);
const MISS: Option<CacheStatus> = Some(CacheStatus::Miss);

/// Starts a worker, and waits until it knows what its model is.
async fn start(model: &str, settings: &[(&str, &str)]) -> Rig {
    ready(Rig::start(model, &[&[ON], settings].concat()).await).await
}

async fn ready(rig: Rig) -> Rig {
    let probe = rig.task(Prompt::Raw("Is it known?".into()), 1);
    while rig.complete(&again(&probe)).await.cache.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig
}

/// Returns the same request as a new task.
fn again(task: &Task) -> Task {
    Task { id: TaskId::new(), ..task.clone() }
}

fn raw(rig: &Rig, text: &str) -> Task {
    rig.task(Prompt::Raw(text.into()), 8)
}

/// Runs a task and returns whether it was answered from the cache.
async fn cache(rig: &Rig, task: &Task) -> Option<CacheStatus> {
    rig.complete(&again(task)).await.cache
}

async fn size(rig: &Rig) -> ResultCacheSize {
    rig.broker.result_cache_size().await.unwrap()
}

/// Returns the text, the parts and the number of logprobs that readers of the task's stream got, without ids of calls.
async fn streamed(rig: &Rig, id: TaskId) -> Vec<(String, String, usize)> {
    let mut choices = vec![(String::new(), String::new(), 0); 4];
    for event in rig.events(id).await {
        if let EventBody::Token { chunk, .. } = event {
            let (text, parts, logprobs) = &mut choices[usize::from(chunk.choice)];
            text.push_str(&chunk.text);
            *logprobs += chunk.logprobs.len();
            for part in chunk.parts.into_iter().flatten() {
                match part {
                    Part::Text { text } => parts.push_str(&text),
                    Part::Reasoning { text } => parts.push_str(&format!("{{{text}}}")),
                    Part::ToolCall { call } => parts.push_str(&format!("{:?}", anonymous(call))),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    // Chunks may split reasoning.
    choices.into_iter().map(|(text, parts, n)| (text, parts.replace("}{", ""), n)).collect()
}

fn anonymous(call: ToolCall) -> ToolCall {
    call.with_id("call")
}

/// Returns a completion without what tells an answer from the cache from a computed one.
fn comparable(mut completion: Completion) -> Completion {
    completion.cache = None;
    completion.usage.cached_tokens = 0;
    let choices = std::iter::once(&mut completion.first).chain(&mut completion.further);
    for choice in choices {
        choice.tool_calls = choice.tool_calls.drain(..).map(anonymous).collect();
    }
    completion
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_answer_and_its_stream_equal_the_computed_ones() {
    let rig = ready(Rig::start_with(slow(), &[ON]).await).await;
    let chat = |text: &str| Prompt::Chat(vec![Message::user(text)]);
    let tools = AnswerForm { tools: vec![Tool::named("f")], split: true, ..AnswerForm::default() };
    let schema = Constraint::Choice(vec!["yes".into(), "no".into()]);
    let echo = AnswerForm { echo: true, ..AnswerForm::default() };
    let tasks = [
        rig.task(chat("Hello"), 12),
        Task { n: 3, ..rig.task(chat("Several"), 6) },
        Task { stop: vec!["e".into(), "a".into()], ..rig.task(Prompt::Raw("One, two".into()), 24) },
        Task {
            sampling: Sampling { logprobs: Some(2), ..Sampling::greedy() },
            ..rig.task(chat("Logprobs"), 6)
        },
        Task {
            sampling: Sampling { seed: Some(5), temperature: Some(0.9), ..Sampling::default() },
            form: tools,
            n: 2,
            ..rig.task(chat("Call it"), 24)
        },
        Task {
            form: AnswerForm { constraint: Some(schema), ..AnswerForm::default() },
            ..rig.task(chat("Yes or no?"), 8)
        },
        Task { form: echo, ..rig.task(Prompt::Raw("An echo".into()), 6) },
    ];
    for task in tasks {
        let (first, second) = (again(&task), again(&task));
        let (computed, cached) = (rig.complete(&first).await, rig.complete(&second).await);
        assert_eq!((computed.cache, cached.cache), (MISS, HIT), "{task:?}");
        let prompt = computed.usage.prompt_tokens;
        assert_eq!(cached.usage.cached_tokens, prompt, "nothing of the prompt was computed");
        assert!(computed.usage.cached_tokens < prompt);
        assert_eq!(comparable(cached), comparable(computed));
        assert_eq!(streamed(&rig, second.id).await, streamed(&rig, first.id).await, "{task:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_from_the_cache_have_ids_of_their_own_task() {
    let rig = ready(Rig::start_with(slow(), &[ON]).await).await;
    let parameters = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let form = AnswerForm {
        tools: vec![Tool { parameters: Some(parameters), ..Tool::named("f") }],
        tool_choice: chat::ToolChoice::Function("f".into()),
        split: true,
        ..AnswerForm::default()
    };
    let task = Task { form, ..rig.task(Prompt::user("Call f"), 120) };
    let ids = async |status| {
        let completion = rig.complete(&again(&task)).await;
        assert_eq!(completion.cache, status);
        let calls = completion.first.tool_calls.iter();
        calls.map(|call| serde_json::to_value(call).unwrap()["id"].to_string()).collect::<Vec<_>>()
    };
    let (computed, cached) = (ids(MISS).await, ids(HIT).await);
    assert_eq!(computed.len(), cached.len());
    assert!(!computed.is_empty() && computed[0] != cached[0], "{computed:?} {cached:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_deterministic_tasks_of_the_same_tenant_hit() {
    let rig = start(MODEL, &[]).await;
    let sampled = |temperature, seed| Sampling { temperature, seed, ..Sampling::default() };
    let plain = raw(&rig, "One, two,");
    assert_eq!((cache(&rig, &plain).await, cache(&rig, &plain).await), (MISS, HIT));
    let other = Task { tenant: TenantId::new("other"), ..plain.clone() };
    assert_eq!((cache(&rig, &other).await, cache(&rig, &other).await), (MISS, HIT));
    for different in [
        raw(&rig, "One, two, "),
        Task { max_tokens: 9, ..plain.clone() },
        Task { n: 2, ..plain.clone() },
        Task { sampling: sampled(Some(0.0), Some(1)), ..plain.clone() },
        Task { sampling: sampled(Some(0.7), Some(1)), ..plain.clone() },
        Task { sampling: sampled(Some(0.7), Some(2)), ..plain.clone() },
    ] {
        assert_eq!(cache(&rig, &different).await, MISS, "{different:?}");
        assert_eq!(cache(&rig, &different).await, HIT, "{different:?}");
    }
    let random = Task { sampling: sampled(Some(0.7), None), ..plain.clone() };
    let count = Task { kind: protocol::TaskKind::Count, ..plain.clone() };
    let before = size(&rig).await;
    for task in [random, count] {
        assert_eq!((cache(&rig, &task).await, cache(&rig, &task).await), (None, None));
    }
    assert_eq!(size(&rig).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_can_decline_the_cache_or_renew_its_entry() {
    let rig = start(MODEL, &[]).await;
    let plain = raw(&rig, "One, two,");
    let asked = |reuse| Task { reuse, ..plain.clone() };
    let before = size(&rig).await;
    assert_eq!(cache(&rig, &asked(Reuse::Off)).await, None);
    assert_eq!(size(&rig).await, before, "not stored");
    assert_eq!(cache(&rig, &asked(Reuse::Refresh)).await, MISS);
    assert_eq!(size(&rig).await.entries, before.entries + 1);
    assert_eq!(cache(&rig, &asked(Reuse::Refresh)).await, MISS);
    assert_eq!(size(&rig).await.entries, before.entries + 1);
    assert_eq!(cache(&rig, &asked(Reuse::Off)).await, None);
    assert_eq!(cache(&rig, &asked(Reuse::Allowed)).await, HIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_is_searched_or_stored() {
    let rig = Rig::start(MODEL, &[]).await;
    let plain = raw(&rig, "One, two,");
    for _ in 0..3 {
        assert_eq!(cache(&rig, &plain).await, None);
    }
    assert_eq!(size(&rig).await, ResultCacheSize::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_and_cancelled_tasks_are_not_stored() {
    let rig = ready(Rig::start_with(slow(), &[ON]).await).await;
    let before = size(&rig).await;
    let long = rig.task(Prompt::Raw("count".into()), 2_000);
    let cancelled = again(&long);
    rig.submit(&cancelled).await;
    rig.wait_for_text(cancelled.id).await;
    rig.broker.cancel(cancelled.id).await.unwrap();
    assert!(matches!(rig.outcome(cancelled.id).await, Outcome::Cancelled { .. }));
    let late = Task { time_limit_s: 1, ..again(&long) };
    rig.fail(&late).await;
    rig.fail(&rig.task(Prompt::Tokens(vec![1 << 30]), 8)).await;
    assert_eq!(size(&rig).await, before);
    // One that its `max_tokens` cut is whole.
    let cut = raw(&rig, "count");
    assert_eq!(rig.complete(&again(&cut)).await.first.finish_reason, FinishReason::Length);
    assert_eq!(cache(&rig, &cut).await, HIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_hit_by_their_content_and_are_not_encoded_again() {
    let (model, projector) = seeing("qwen3vl");
    let settings = [ON, ("MMPROJ", projector.to_str().unwrap())];
    let rig = ready(Rig::start_with(model, &settings).await).await;
    let (one, other) = (picture("wide.png"), picture("photo.jpg"));
    let blobs = [
        store(&rig.broker, "tenant", &one).await,
        store(&rig.broker, "tenant", &one).await,
        store(&rig.broker, "tenant", &other).await,
    ];
    assert_ne!(blobs[0], blobs[1]);
    let task = |blob: &str| Task {
        pixels: PIXELS,
        ..rig.task(Prompt::Chat(vec![asking("|What?", &[blob])]), 8)
    };
    assert_eq!(cache(&rig, &task(&blobs[0])).await, MISS);
    assert_eq!(cache(&rig, &task(&blobs[1])).await, HIT, "the same bytes in another upload");
    assert_eq!(cache(&rig, &task(&blobs[2])).await, MISS);
    let smaller = protocol::PixelLimits { max: Some(6 * 64), ..PIXELS };
    assert_eq!(cache(&rig, &Task { pixels: smaller, ..task(&blobs[0]) }).await, MISS);
    // The skill reads the cached answer anew, with the sizes of the images.
    let skill: SkillUse = serde_json::from_value(json!({"name": "s", "output": "boxes"})).unwrap();
    let read = rig.complete(&Task { skill: Some(skill), ..task(&blobs[0]) }).await;
    assert_eq!(read.cache, HIT);
    assert_eq!(read.skill.unwrap().name, "s");
    // A missing image is an error, as without the cache.
    let gone = protocol::BlobId::new().to_string();
    assert!(rig.fail(&task(&gone)).await.message.contains("does not exist"));
}
