use std::collections::BTreeMap;

use chat::{Constraint, Message, Role, Tool};
use protocol::{Lane, ModelId, Reuse, SkillUse, TaskId, TaskKind, Webhook};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::*;

fn files(base: u8) -> ContentHashes {
    let adapters = [("one".to_owned(), [1; 32]), ("two".to_owned(), [2; 32])].into();
    ContentHashes { base: [base; 32], adapters }
}

fn task() -> Task {
    let image = Part::Image { blob: "a".into() };
    let text = Part::Text { text: "What?".into() };
    let message = Message { role: Role::User, parts: vec![image, text], name: None };
    Task {
        id: TaskId::new(),
        tenant: TenantId::new("t"),
        model: ModelId::new("m"),
        lane: Lane::Normal,
        kind: TaskKind::Generate,
        prompt: Prompt::Chat(vec![message]),
        pixels: PixelLimits::default(),
        n: 1,
        max_tokens: 8,
        stop: vec![],
        sampling: Sampling::greedy(),
        form: AnswerForm::default(),
        time_limit_s: 60,
        result_ttl_s: 60,
        max_attempts: 1,
        retry_backoff_s: None,
        user_id: None,
        metadata: BTreeMap::new(),
        webhook: None,
        skill: None,
        reuse: Reuse::Allowed,
        trace: None,
    }
}

fn visuals(hash: u8) -> HashMap<String, ContentHash> {
    ["a", "b"].map(|name| (name.to_owned(), ContentHash([hash; 32]))).into()
}

fn plain<'a>(files: &'a ContentHashes, recommended: &'a Sampling) -> Setting<'a> {
    Setting { files, adapter: None, recommended, loaded: ("Q4_K", 4096, 1024, 2048) }
}

fn key(task: &Task) -> ContentHash {
    let (files, recommended) = (files(1), Sampling::default());
    let setting = plain(&files, &recommended);
    of(task, setting, &visuals(1)).unwrap()
}

fn message(text: &str) -> Message {
    Message::user(text)
}

/// A change of a task, and the name of what it changes.
type Change = (&'static str, Box<dyn Fn(&mut Task)>);

/// Changes of a task, each of which may change its answer.
fn changes() -> Vec<Change> {
    let mut changes: Vec<Change> = vec![
        ("tenant", Box::new(|task| task.tenant = TenantId::new("u"))),
        ("prompt", Box::new(|task| task.prompt = Prompt::Chat(vec![message("What?")]))),
        ("continued", Box::new(|task| task.prompt = Prompt::Continued(vec![message("What?")]))),
        ("raw", Box::new(|task| task.prompt = Prompt::Raw("What?".into()))),
        ("tokens", Box::new(|task| task.prompt = Prompt::Tokens(vec![1, 2]))),
        (
            "images",
            Box::new(|task| {
                let images = vec!["a".into(), "b".into()];
                task.prompt = Prompt::RawImages { text: "What?".into(), images };
            }),
        ),
        ("min_pixels", Box::new(|task| task.pixels.min = Some(4096))),
        ("max_pixels", Box::new(|task| task.pixels.max = Some(4096))),
        ("n", Box::new(|task| task.n = 2)),
        ("max_tokens", Box::new(|task| task.max_tokens = 9)),
        ("stop", Box::new(|task| task.stop = vec!["x".into()])),
        ("seed", Box::new(|task| task.sampling.seed = Some(7))),
        ("logprobs", Box::new(|task| task.sampling.logprobs = Some(2))),
        ("logit_bias", Box::new(|task| task.sampling.logit_bias = [(5, 1.5)].into())),
        ("tools", Box::new(|task| task.form.tools = vec![Tool::named("f")])),
        ("thinking", Box::new(|task| task.form.enable_thinking = Some(true))),
        ("split", Box::new(|task| task.form.split = true)),
        ("one_call", Box::new(|task| task.form.one_call = true)),
        ("echo", Box::new(|task| task.form.echo = true)),
        ("constraint", Box::new(|task| task.form.constraint = Some(Constraint::AtMostOneCall))),
    ];
    // Every number by which tokens are sampled.
    for field in Sampling::FIELDS {
        let set = move |task: &mut Task| {
            let value = match field.range {
                // No neutral value.
                protocol::Range::Fraction { least, most, .. } => {
                    protocol::Number::Fraction((0.25 * least + 0.75 * most) as f32)
                }
                protocol::Range::Whole { most, .. } => protocol::Number::Whole(most),
            };
            task.sampling.set(field.name, Some(value));
        };
        changes.push((field.name, Box::new(set)));
    }
    changes
}

#[test]
fn every_field_that_may_change_the_answer_changes_the_key() {
    let plain = key(&task());
    for (name, change) in changes() {
        let mut other = task();
        change(&mut other);
        assert_ne!(key(&other), plain, "{name}");
    }
}

#[test]
fn different_sets_of_changes_have_different_keys() {
    let (changes, mut random) = (changes(), StdRng::seed_from_u64(3));
    let mut known: HashMap<ContentHash, Task> = HashMap::new();
    for _ in 0..2_000 {
        let mut task = Task { id: TaskId::new(), ..task() };
        for (_, change) in &changes {
            if random.random_bool(0.15) {
                change(&mut task);
            }
        }
        let key = key(&task);
        assert_eq!(key, self::key(&task.clone()), "it is a function");
        if let Some(other) = known.get(&key) {
            assert_eq!(Task { id: task.id, ..other.clone() }, task);
        }
        known.insert(key, task);
    }
    assert!(known.len() > 1_000, "{}", known.len());
}

#[test]
fn what_concerns_only_the_queue_does_not_change_the_key() {
    let plain = key(&task());
    let skill: SkillUse =
        serde_json::from_value(json!({"name": "ocr", "output": "boxes"})).unwrap();
    let other = Task {
        id: TaskId::new(),
        model: ModelId::new("another name of it"),
        lane: Lane::High,
        time_limit_s: 7,
        result_ttl_s: 7,
        max_attempts: 7,
        retry_backoff_s: Some(7),
        user_id: Some("u".into()),
        metadata: [("a".to_owned(), "b".to_owned())].into(),
        webhook: Some(Webhook { url: "https://example.com".into(), form: Default::default() }),
        skill: Some(skill),
        reuse: Reuse::Refresh,
        ..task()
    };
    assert_eq!(key(&other), plain);
}

#[test]
fn the_model_its_adapter_and_its_settings_change_the_key() {
    // What a greedy task leaves open does not count.
    let sampling = Sampling { seed: Some(7), ..Sampling::default() };
    let (task, recommended) = (Task { sampling, ..task() }, Sampling::default());
    let warm = Sampling { top_p: Some(0.5), ..Sampling::default() };
    let (one, other) = (files(1), files(2));
    let plain = plain(&one, &recommended);
    let settings = [
        plain,
        Setting { files: &other, ..plain },
        Setting { adapter: Some("one"), ..plain },
        Setting { adapter: Some("two"), ..plain },
        Setting { recommended: &warm, ..plain },
        Setting { loaded: ("Q8_0", 4096, 1024, 2048), ..plain },
        Setting { loaded: ("Q4_K", 8192, 1024, 2048), ..plain },
        Setting { loaded: ("Q4_K", 4096, 64, 2048), ..plain },
        Setting { loaded: ("Q4_K", 4096, 1024, 64), ..plain },
    ];
    let keys: Vec<_> =
        settings.iter().map(|setting| of(&task, *setting, &visuals(1)).unwrap()).collect();
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{index}");
    }
    assert_eq!(of(&task, Setting { adapter: Some("three"), ..plain }, &visuals(1)), None);
}

#[test]
fn images_count_by_their_content() {
    let (files, recommended) = (files(1), Sampling::default());
    let setting = plain(&files, &recommended);
    let of = |prompt: Prompt, hash| of(&Task { prompt, ..task() }, setting, &visuals(hash));
    let asking = |parts| Prompt::Chat(vec![Message { role: Role::User, parts, name: None }]);
    let image = |blob: &str| Part::Image { blob: blob.into() };
    let video = Part::Video { blob: "a".into() };
    let plain = of(asking(vec![image("a")]), 1).unwrap();
    assert_eq!(of(asking(vec![image("b")]), 1), Some(plain), "another upload of the same bytes");
    assert_ne!(of(asking(vec![image("a")]), 2), Some(plain));
    assert_ne!(of(asking(vec![video]), 1), Some(plain));
    assert_ne!(of(asking(vec![image("a"), image("a")]), 1), Some(plain));
    assert_eq!(of(asking(vec![image("gone")]), 1), None);
}
