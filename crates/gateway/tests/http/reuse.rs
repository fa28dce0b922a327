//! Tests what requests and responses say about the result cache.

use protocol::{CacheStatus, Completion, Outcome, Reuse};
use serde_json::{Value, json};

use crate::openai::{CHAT, COMPLETIONS, answered, chat};
use crate::rig::{KEY, Rig, answer};

const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";

/// Returns the bodies of all APIs, each with its path.
fn requests() -> [(&'static str, Value); 5] {
    let ask = json!([{"role": "user", "content": "Why?"}]);
    [
        ("/generate", json!({"prompt": "Why?"})),
        (CHAT, chat(json!({}))),
        (COMPLETIONS, json!({"model": "demo", "prompt": "Why?"})),
        (RESPONSES, json!({"model": "demo", "input": "Why?"})),
        (MESSAGES, json!({"model": "demo", "max_tokens": 9, "messages": ask})),
    ]
}

fn with(outcome: Outcome, cache: Option<CacheStatus>) -> Outcome {
    match outcome {
        Outcome::Completed(completion) => Outcome::Completed(Completion { cache, ..completion }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_header_of_a_request_of_any_api_reaches_its_task() {
    let rig = Rig::start();
    for (path, body) in requests() {
        for (header, reuse) in [
            (None, Reuse::Allowed),
            (Some("max-age=600"), Reuse::Allowed),
            (Some("no-cache"), Reuse::Refresh),
            (Some("max-age=0"), Reuse::Refresh),
            (Some("private, No-Store"), Reuse::Off),
        ] {
            let client = rig.client_with(Some(KEY));
            let client = match header {
                Some(header) => client.with("cache-control", header),
                None => client,
            };
            let body = body.clone();
            let asking = std::thread::spawn(move || client.post(path, &body));
            let claimed = rig.claim();
            assert_eq!(claimed.task.reuse, reuse, "{path} {header:?}");
            rig.finish(&claimed, &answer("Because."));
            assert!(asking.join().unwrap().status < 300);
        }
    }
}

#[test]
fn responses_of_all_apis_say_whether_the_answer_came_from_the_cache() {
    let rig = Rig::start();
    for cache in [None, Some(CacheStatus::Miss), Some(CacheStatus::Hit)] {
        let said = cache.map(CacheStatus::as_str);
        for (path, body) in requests().into_iter().skip(1) {
            let (reply, _) = answered(&rig, path, body, &with(answer("Because."), cache));
            assert_eq!((reply.status, reply.header("x-cache")), (200, said), "{path}");
        }
        let client = rig.client().with("prefer", "wait=30");
        let asking = std::thread::spawn(move || client.post("/generate", &json!({"prompt": "?"})));
        let claimed = rig.claim();
        rig.finish(&claimed, &with(answer("Because."), cache));
        let id = claimed.task.id;
        let replies = [asking.join().unwrap(), rig.client().get(&format!("/result/{id}"))];
        for reply in replies {
            assert_eq!((reply.status, reply.header("x-cache")), (200, said));
            assert_eq!(reply.json().get("cache"), said.map(Value::from).as_ref());
        }
        let events = rig.client().get(&format!("/events/{id}")).text;
        let ended = events.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
        let ended: Value = serde_json::from_str(ended.unwrap()).unwrap();
        assert_eq!(ended.get("cache"), said.map(Value::from).as_ref(), "{events}");
    }
}

#[test]
fn a_response_with_several_answers_is_a_hit_only_if_none_was_computed() {
    let rig = Rig::start();
    let [hit, miss] = [CacheStatus::Hit, CacheStatus::Miss].map(Some);
    for (caches, said) in [
        ([hit, hit], Some("hit")),
        ([hit, miss], Some("miss")),
        ([hit, None], Some("miss")),
        ([None, None], None),
    ] {
        let client = rig.client();
        let body = json!({"model": "demo", "prompt": ["Why?", "How?"]});
        let asking = std::thread::spawn(move || client.post(COMPLETIONS, &body));
        for cache in caches {
            let claimed = rig.claim();
            rig.finish(&claimed, &with(answer("Because."), cache));
        }
        let reply = asking.join().unwrap();
        assert_eq!((reply.status, reply.header("x-cache")), (200, said), "{caches:?}");
    }
}

#[test]
fn the_size_of_the_cache_is_a_metric_if_it_is_on() {
    for is_on in [false, true] {
        let rig = Rig::with(|options| {
            options.admin_key = Some(crate::rig::ADMIN_KEY.into());
            options.result_cache = is_on;
        });
        let (tenant, key) = (protocol::TenantId::new("t"), queue::ContentHash([7; 32]));
        let ttl = std::time::Duration::from_secs(60);
        rig.wait(rig.broker.cache_result(&tenant, key, "text", ttl, 1 << 20)).unwrap();
        let text = rig.admin().get("/metrics").text;
        let mut lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("result_cache_")).collect();
        lines.sort_unstable();
        match is_on {
            true => assert_eq!(lines, ["result_cache_bytes 260", "result_cache_entries 1"]),
            false => assert!(lines.is_empty(), "{lines:?}"),
        }
    }
}
