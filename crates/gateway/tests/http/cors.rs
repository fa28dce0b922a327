//! Tests what browsers need before scripts of other sites may call the API.

use gateway::Options;
use serde_json::json;
use service::settings::Origins;

use crate::client::Reply;
use crate::openai::{CHAT, answered, chat, with};
use crate::rig::{KEY, Rig, answer};

const APP: &str = "https://app.example.com";

fn listed(options: &mut Options) {
    options.cors_origins = Origins::Listed(vec![APP.into(), "http://localhost:3000".into()]);
}

fn allowed(reply: &Reply) -> Option<&str> {
    reply.header("access-control-allow-origin")
}

#[test]
fn preflights_are_answered_on_every_path_without_a_key() {
    let rig = Rig::with(listed);
    let asked = "authorization,x-api-key,content-type,idempotency-key,prefer,anthropic-version,anthropic-beta,\
                 anthropic-dangerous-direct-browser-access,openai-organization,x-stainless-retry-count";
    for (path, method) in [
        (CHAT, "POST"),
        ("/v1/messages", "POST"),
        ("/generate", "POST"),
        ("/v1/files/file-1", "DELETE"),
        ("/nowhere", "GET"),
        ("/admin/overview", "GET"),
    ] {
        let preflight = |origin: &str| {
            rig.client_with(None)
                .with("origin", origin)
                .with("access-control-request-method", method)
                .with("access-control-request-headers", asked)
                .send("OPTIONS", path, None)
        };
        for origin in [APP, "http://localhost:3000"] {
            let reply = preflight(origin);
            assert_eq!((reply.status, &*reply.text), (200, ""), "{path}: {reply:?}");
            assert_eq!(allowed(&reply), Some(origin));
            assert!(reply.header("access-control-allow-methods").unwrap().contains(method));
            assert_eq!(reply.header("access-control-allow-headers"), Some(asked));
            assert_eq!(reply.header("access-control-allow-credentials"), None);
            assert!(reply.header("vary").unwrap().to_ascii_lowercase().contains("origin"));
            assert!(reply.header("x-request-id").is_some(), "{reply:?}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        }
        for stranger in ["https://evil.example", "https://app.example.com.evil.example", "null"] {
            let reply = preflight(stranger);
            assert_eq!(
                (reply.status, allowed(&reply)),
                (400, None),
                "{path} {stranger}: {reply:?}"
            );
        }
    }
}

#[test]
fn all_answers_have_the_headers_errors_too() {
    let rig = Rig::with(|options| {
        listed(options);
        options.max_prompt_bytes = 10;
        options.images.max = 0; // they need room
    });
    let client = |key: Option<&str>| rig.client_with(key).with("origin", APP);
    let too_large = vec![b'x'; 5 << 20];
    for (reply, status) in [
        (client(None).get("/health"), 200),
        (client(Some(KEY)).post("/generate", &json!({"prompt": "a"})), 202),
        (client(None).post(CHAT, &json!({})), 401),
        (client(Some("wrong")).post("/v1/messages", &json!({})), 401),
        (client(Some(KEY)).post(CHAT, &json!({"messages": 1})), 400),
        (client(Some(KEY)).get("/v1/nowhere"), 404),
        (client(Some(KEY)).get("/generate"), 405),
        (
            client(Some(KEY)).with("content-type", "application/json").send(
                "POST",
                CHAT,
                Some(&too_large),
            ),
            413,
        ),
        (client(Some(KEY)).get("/status/%FF"), 422),
    ] {
        assert_eq!((reply.status, allowed(&reply)), (status, Some(APP)), "{reply:?}");
        let exposed = reply.header("access-control-expose-headers").unwrap();
        let exposed: Vec<&str> = exposed.split(',').map(str::trim).collect();
        for name in [
            "x-request-id",
            "retry-after",
            "location",
            "openai-processing-ms",
            "x-ratelimit-remaining-tokens",
        ] {
            assert!(exposed.contains(&name), "{exposed:?}");
        }
    }
    let reply = rig.client().with("origin", "https://evil.example").get("/v1/nowhere");
    assert_eq!((reply.status, allowed(&reply)), (404, None));
    assert_eq!(allowed(&rig.client().get("/health")), None, "no browser asks");
}

#[test]
fn streams_have_the_headers() {
    let rig = Rig::with(listed);
    rig.report("demo", protocol::WorkerStatus::Ready);
    let body = with(chat(json!({})), json!({"stream": true}));
    let (reply, _) = answered(&rig, CHAT, body, &answer("Because."));
    assert_eq!((reply.status, allowed(&reply)), (200, None));
    let response = rig.client().with("origin", APP).open("GET", "/v1/models", None);
    assert_eq!(response.headers()["access-control-allow-origin"], APP);
}

#[test]
fn a_wildcard_allows_every_origin_without_credentials() {
    let rig = Rig::with(|options| options.cors_origins = Origins::Any);
    for reply in [
        rig.client().with("origin", "https://any.example").get("/v1/models"),
        rig.client().with("origin", "null").get("/v1/nowhere"),
    ] {
        assert_eq!(allowed(&reply), Some("*"), "{reply:?}");
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
}

#[test]
fn browsers_get_no_headers_by_default() {
    let rig = Rig::start();
    let client =
        rig.client_with(None).with("origin", APP).with("access-control-request-method", "POST");
    let reply = client.send("OPTIONS", CHAT, None);
    assert_eq!((reply.status, allowed(&reply)), (405, None));
    assert_eq!(rig.client().with("origin", APP).get("/v1/models").header("vary"), None);
}
