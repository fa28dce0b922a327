//! Tests that each kind of invalid input gets its own status and message.

use protocol::{TaskId, WorkerStatus};
use serde_json::{Value, json};

use crate::rig::Rig;

#[test]
fn requests_without_a_valid_key_are_refused() {
    let rig = Rig::start();
    let id = TaskId::new();
    for client in [
        rig.client_with(None),
        rig.client_with(Some("wrong")),
        rig.client_with(Some("")),
        rig.client_with(Some("test-key-11")),
        rig.client_with(None).with("authorization", "Bearer wrong"),
        rig.client_with(None).with("authorization", "Basic test-key-1"),
    ] {
        for (method, path) in [
            ("POST", "/generate".to_owned()),
            ("GET", format!("/status/{id}")),
            ("GET", format!("/result/{id}")),
            ("GET", format!("/events/{id}")),
            ("POST", format!("/cancel/{id}")),
            ("GET", format!("/webhook/{id}")),
            ("GET", "/webhook-secret".to_owned()),
            ("GET", "/status/malformed".to_owned()),
        ] {
            let reply = client.send(method, &path, None);
            assert_eq!(reply.json(), json!({"detail": "Invalid API key"}), "{method} {path}");
            assert_eq!(reply.status, 401);
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            assert_eq!(reply.header("x-should-retry"), Some("false"));
        }
    }
}

#[test]
fn public_routes_need_no_key() {
    let rig = Rig::start();
    // The client would decompress the body that a HEAD has not.
    let client = rig.client_with(None).with("accept-encoding", "identity");
    for path in ["/", "/health", "/docs", "/docs/", "/ui/", "/ui/app.js", "/openapi.json"] {
        assert_eq!(client.get(path).status, 200, "{path}");
        let head = client.send("HEAD", path, None);
        assert_eq!((head.status, &*head.text), (200, ""), "{path}");
    }
}

#[test]
fn malformed_request_bodies_are_refused() {
    let rig = Rig::start();
    let send = |body: &[u8]| {
        let client = rig.client().with("content-type", "application/json");
        client.send("POST", "/generate", Some(body)).problem()
    };
    let broken = send(b"{\"prompt\": ");
    assert_eq!(broken["type"], "json_invalid");
    assert_eq!(broken["loc"], json!(["body", 10]));
    assert_eq!(
        broken["msg"],
        "the body is not valid JSON: EOF while parsing a value at line 1, column 11"
    );
    assert_eq!(send(b"prompt=Hello")["type"], "json_invalid");
    assert_eq!(send(b"{\"prompt\": NaN}")["type"], "json_invalid");
    assert_eq!(send(b"\xff\xfe")["type"], "json_invalid");
    assert_eq!(send(&b"[".repeat(10_000))["type"], "json_invalid");
    assert_eq!(send(b"")["type"], "missing");
    assert_eq!(send(b"[]")["msg"], "expected a JSON object, got an array");
}

#[test]
fn duplicate_json_keys_are_refused() {
    let rig = Rig::operated();
    for (body, loc) in [
        (r#"{"prompt": "a", "max_tokens": 1, "prompt": "b"}"#, json!(["body", "prompt"])),
        (r#"{"prompt": "a", "se\u0065d": 1, "seed": 1}"#, json!(["body", "seed"])),
        (
            r#"{"prompt": "a", "metadata": {"order": "1", "order": "2"}}"#,
            json!(["body", "metadata", "order"]),
        ),
        (
            r#"{"prompt": "a", "tools": [{"type": "function", "type": "function"}]}"#,
            json!(["body", "tools", 0, "type"]),
        ),
    ] {
        let problem = rig.client().send("POST", "/generate", Some(body.as_bytes())).problem();
        assert_eq!((&problem["type"], &problem["loc"]), (&json!("duplicate_key"), &loc), "{body}");
        let key = loc.as_array().unwrap().last().unwrap().as_str().unwrap();
        let expected = format!("the key '{key}' is given twice in one object: give it once");
        assert_eq!(problem["msg"], expected);
    }
    let pause = rig.admin().send("POST", "/admin/pause", Some(br#"{"model": "a", "model": "b"}"#));
    assert_eq!(pause.problem()["type"], "duplicate_key");
}

#[test]
fn whole_numbers_are_accepted_in_every_notation() {
    let rig = Rig::start();
    let post = |fields: &str| {
        let body = format!("{{\"prompt\": \"x\", {fields}}}");
        rig.client().send("POST", "/generate", Some(body.as_bytes()))
    };
    for fields in [
        r#""max_tokens": 1e3"#,
        r#""max_tokens": 1000.0, "seed": 1e18"#,
        r#""seed": 1E+19"#,
        r#""seed": 1.8e19, "expires_in_s": 0.36e4"#,
        r#""top_k": 4e1"#,
    ] {
        let reply = post(fields);
        assert_eq!(reply.status, 202, "{fields}: {reply:?}");
    }
    let id = crate::rig::task_id(&post(r#""seed": 1e18, "max_tokens": 1.5e3"#).json());
    let claimed = std::iter::repeat_with(|| rig.claim()).find(|claimed| claimed.task.id == id);
    let task = claimed.unwrap().task;
    assert_eq!((task.sampling.seed, task.max_tokens), (Some(1_000_000_000_000_000_000), 1500));
    for (fields, kind) in [
        (r#""max_tokens": 1.5"#, "int_from_float"),
        (r#""max_tokens": 1e18"#, "less_than_equal"),
        (r#""seed": 1e20"#, "less_than_equal"),
        (r#""seed": -1e3"#, "greater_than_equal"),
    ] {
        assert_eq!(post(fields).problem()["type"], kind, "{fields}");
    }
}

#[test]
fn invalid_fields_are_refused() {
    let rig = Rig::with(|options| {
        options.max_prompt_bytes = 1000;
        options.max_new_tokens = 64;
    });
    let problem = |body: Value| rig.client().post("/generate", &body).problem();
    let with = |name: &str, value: Value| problem(json!({"prompt": "x", name: value}));
    let says = |problem: Value, field: &str, message: &str, kind: &str| {
        let expected = json!({"loc": ["body", field], "msg": message, "type": kind});
        assert_eq!(problem, expected);
    };
    says(
        problem(json!({})),
        "prompt",
        "this field is required: a string that is not empty",
        "missing",
    );
    says(
        problem(json!({"prompt": ""})),
        "prompt",
        "the prompt is empty: at least one visible character is needed",
        "string_too_short",
    );
    says(
        problem(json!({"prompt": " \t\n"})),
        "prompt",
        "the prompt is only whitespace: at least one visible character is needed",
        "string_too_short",
    );
    says(
        problem(json!({"prompt": "x".repeat(1001)})),
        "prompt",
        "must have at most 1000 bytes of UTF-8, has 1001",
        "string_too_long",
    );
    says(
        problem(json!({"prompt": {"text": "x"}})),
        "prompt",
        "expected a string, got an object",
        "string_type",
    );
    let range = "must be an integer from 1 to 64, got";
    says(with("max_tokens", json!(0)), "max_tokens", &format!("{range} 0"), "greater_than_equal");
    says(with("max_tokens", json!(65)), "max_tokens", &format!("{range} 65"), "less_than_equal");
    says(
        with("max_tokens", json!("many")),
        "max_tokens",
        "expected an integer from 1 to 64, got a string",
        "int_type",
    );
    says(
        with("temperature", json!(2.5)),
        "temperature",
        "must be from 0 to 2, got 2.5",
        "less_than_equal",
    );
    says(
        with("temperature", json!("hot")),
        "temperature",
        "expected a number from 0 to 2, got a string",
        "float_type",
    );
    says(with("top_p", json!(0)), "top_p", "must be above 0 and at most 1, got 0", "greater_than");
    says(
        with("max_token", json!(5)),
        "max_token",
        "unknown field 'max_token'; did you mean 'max_tokens'? Allowed: prompt, messages, images, \
         videos, model, raw, user_id, webhook_url, min_pixels, max_pixels, max_tokens, temperature, top_p, top_k, \
         min_p, repetition_penalty, \
         presence_penalty, frequency_penalty, logit_bias, logprobs, top_logprobs, seed, stop, \
         response_format, regex, choice, tools, tool_choice, enable_thinking, priority, delay_s, \
         run_at, expires_in_s, metadata, result_ttl_s, time_limit_s, max_attempts, retry_backoff_s",
        "extra_forbidden",
    );
}

#[test]
fn all_invalid_fields_are_reported_at_once() {
    let rig = Rig::start();
    let body = json!({"prompt": 1, "max_tokens": 0, "top_p": 2, "nonsense": true});
    let reply = rig.client().post("/generate", &body).json();
    assert_eq!(reply["detail"].as_array().unwrap().len(), 4, "{reply}");
}

#[test]
fn unknown_model_is_refused() {
    let rig = Rig::start();
    rig.report("other", WorkerStatus::Ready);
    let ask = |model: &str| rig.client().post("/generate", &json!({"prompt": "x", "model": model}));
    assert_eq!(ask("demo").status, 202, "the default needs no worker yet");
    assert_eq!(ask("other").status, 202);
    let problem = ask("gpt-4").problem();
    assert_eq!(problem["loc"], json!(["body", "model"]));
    assert_eq!(
        problem["msg"],
        "unknown model 'gpt-4': no worker serves it. Available: demo, other"
    );
}

#[test]
fn bodies_of_another_content_type_or_charset_are_refused() {
    let rig = Rig::start();
    let form = rig.client().with("content-type", "application/x-www-form-urlencoded");
    let (status, detail) = form.send("POST", "/generate", Some(b"prompt=Hello")).error();
    assert_eq!(status, 415);
    assert!(detail.contains("Content-Type: application/json"), "{detail}");
    let post = |content_type: &str| {
        let client = rig.client().with("content-type", content_type);
        client.send("POST", "/generate", Some(b"{\"prompt\": \"caf\xc3\xa9\"}"))
    };
    for foreign in [
        "application/json; charset=iso-8859-1",
        "application/json;charset=\"UTF-16\"",
        "application/vnd.api+json; profile=x; Charset = windows-1252",
        "application/json; charset=",
    ] {
        let (status, detail) = post(foreign).error();
        assert_eq!(status, 415, "{foreign}");
        let charset = foreign.rsplit('=').next().unwrap().trim().trim_matches('"');
        let expected = format!(
            "Unsupported charset '{charset}': JSON is UTF-8; send it so, with 'Content-Type: application/json'"
        );
        assert_eq!(detail, expected);
    }
    for utf8 in [
        "application/json; charset=utf-8",
        "application/json;charset=UTF8",
        "application/json; charset=\"Utf-8\"; x=y",
        "application/problem+json",
    ] {
        assert_eq!(post(utf8).status, 202, "{utf8}");
    }
    let zipped = rig.client().with("content-encoding", "gzip");
    let (status, detail) = zipped.send("POST", "/generate", Some(b"\x1f\x8b")).error();
    assert_eq!(status, 415);
    assert!(detail.contains("Content-Encoding"), "{detail}");
}

#[test]
fn oversized_bodies_are_refused() {
    let rig = Rig::with(|options| {
        options.max_prompt_bytes = 1000;
        options.images.max = 0; // they need room
    });
    let limit = 6 * 1000 + 64 * 1024;
    for size in [limit + 1, 8 * 1024 * 1024] {
        let reply = rig.client().send("POST", "/generate", Some(&vec![b' '; size]));
        let expected = format!("Request body too large: at most {limit} bytes are allowed");
        assert_eq!(reply.error(), (413, expected));
    }
    // The longest prompt fits even if every byte is escaped.
    let escaped = format!("{{\"prompt\": \"x{}\"}}", "\\u0001".repeat(999));
    assert_eq!(rig.client().send("POST", "/generate", Some(escaped.as_bytes())).status, 202);
}

#[test]
fn malformed_and_unknown_task_ids_are_refused() {
    let rig = Rig::start();
    for (method, route) in
        [("GET", "status"), ("GET", "result"), ("GET", "events"), ("POST", "cancel")]
    {
        for id in ["42", "not-a-uuid", "0192f0c1-2345-7abc-8def-0123456789ag", "%00%0A", "'--"] {
            let problem = rig.client().send(method, &format!("/{route}/{id}"), None).problem();
            assert_eq!(problem["loc"], json!(["path", "task_id"]), "{route} {id}");
            assert_eq!(problem["type"], "uuid_parsing");
            let message = problem["msg"].as_str().unwrap();
            assert!(message.contains("expected a UUID such as 0192f0c1-"), "{message}");
        }
        let id = TaskId::new();
        let (status, detail) = rig.client().send(method, &format!("/{route}/{id}"), None).error();
        assert_eq!(status, 404);
        assert_eq!(
            detail,
            format!(
                "Task {id} not found: it never existed, its result has expired, \
                 or it belongs to another key"
            )
        );
    }
}

#[test]
fn unknown_paths_are_a_404_and_wrong_methods_a_405() {
    let rig = Rig::start();
    for path in ["/nowhere", "/generate/more", "/status", "/status/", "/..%2fetc", "/docs/no.js"] {
        let reply = rig.client().get(path);
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.json()["detail"].as_str().unwrap().starts_with("Not Found"), "{path}");
    }
    for (method, path, allowed) in [
        ("GET", "/generate", "POST"),
        ("DELETE", "/status/x", "GET, HEAD"),
        ("POST", "/result/x", "GET, HEAD"),
        ("GET", "/cancel/x", "POST"),
        ("HEAD", "/events/x", "GET"),
        ("POST", "/health", "GET, HEAD"),
        ("OPTIONS", "/generate", "POST"),
    ] {
        let reply = rig.client().send(method, path, None);
        assert_eq!(reply.status, 405, "{method} {path}");
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
        if method != "HEAD" {
            assert_eq!(reply.error().1, format!("Method Not Allowed: this path takes {allowed}"));
        }
    }
}

#[test]
fn full_queue_is_a_429_with_retry_after() {
    let rig = Rig::with(|options| options.max_queue_size = 2);
    let first = rig.submit("1");
    rig.submit("2");
    let reply = rig.client().post("/generate", &json!({"prompt": "3"}));
    let (status, detail) = reply.error();
    assert_eq!(status, 429);
    assert!(detail.contains("'demo' is full: 2 tasks wait, 2 are allowed"), "{detail}");
    let seconds: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=120).contains(&seconds));
    assert_eq!(reply.header("x-should-retry"), None);
    rig.client().send("POST", &format!("/cancel/{first}"), None);
    rig.submit("there is room again");
}
