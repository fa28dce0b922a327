//! Tests managed keys and tokens: the operators' routes, and what a key opens.

use std::time::Duration;

use gateway::options::JwtOptions;
use harness::wait_for;
use protocol::WorkerStatus;
use serde_json::{Value, json};

use crate::client::Client;
use crate::rig::{ADMIN_KEY, KEY, Rig};

const SOON: Duration = Duration::from_secs(5);

/// Creates a key and returns the reply.
pub(crate) fn made(rig: &Rig, fields: &Value) -> Value {
    let reply = rig.admin().post("/admin/keys", fields);
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply.json()
}

pub(crate) fn client(rig: &Rig, key: &Value) -> Client {
    rig.client_with(key["key"].as_str())
}

#[test]
fn a_key_lives_from_its_creation_to_its_revocation() {
    let rig = Rig::operated();
    let key = made(&rig, &json!({"name": "ci", "owner": "acme", "metadata": {"team": "x"}}));
    let (id, text) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    assert!(text.starts_with("qq-") && text.len() == 46, "{text}");
    assert_eq!(key["prefix"], text[..8]);
    assert_eq!(
        (&key["owner"], &key["scopes"], &key["blocked"]),
        (&json!("acme"), &json!(["submit"]), &json!(false))
    );
    assert!(key["created_at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{key}");
    let reply = client(&rig, &key).post("/generate", &json!({"prompt": "x"}));
    assert_eq!(reply.status, 202, "{reply:?}");
    let path = format!("/status/{}", reply.json()["task_id"].as_str().unwrap());
    assert_eq!(client(&rig, &key).get(&path).status, 200);
    assert_eq!(rig.client().get(&path).status, 404, "another owner's");
    let second = made(&rig, &json!({"name": "second", "owner": "acme", "scopes": ["read"]}));
    assert_eq!(client(&rig, &second).get(&path).status, 200, "the same owner's");

    let shown = rig.admin().get(&format!("/admin/keys/{id}")).json();
    assert!(shown.get("key").is_none() && shown["name"] == "ci", "{shown}");
    let page = rig.admin().get("/admin/keys?limit=1").json();
    assert_eq!(page["keys"][0]["id"], id);
    let rest = rig.admin().get(&format!("/admin/keys?after={}", page["next"].as_str().unwrap()));
    assert_eq!(
        (&rest.json()["keys"][0]["id"], &rest.json()["next"]),
        (&second["id"], &Value::Null)
    );
    let of_nobody = rig.admin().get("/admin/keys?owner=nobody").json();
    assert_eq!(of_nobody, json!({"keys": [], "next": null}));

    let patch = |body: Value| rig.admin().patch(&format!("/admin/keys/{id}"), &body);
    assert_eq!(patch(json!({"blocked": true, "name": "CI"})).json()["name"], "CI");
    let refused = client(&rig, &key).get(&path);
    assert_eq!(refused.error(), (401, "This API key is blocked".to_owned()));
    assert_eq!(patch(json!({"blocked": false})).status, 200);
    assert_eq!(client(&rig, &key).get(&path).status, 200);
    let (status, detail) = patch(json!({"owner": "other"})).error();
    assert!(status == 422, "{detail}");

    let rotated = rig.admin().post(&format!("/admin/keys/{id}/rotate"), &Value::Null);
    let fresh = rotated.json();
    assert_eq!((rotated.status, &fresh["id"]), (200, &key["id"]));
    assert_eq!(client(&rig, &key).get(&path).status, 401);
    assert_eq!(client(&rig, &fresh).get(&path).status, 200);
    let secret = |key: &Value| client(&rig, key).get("/webhook-secret").json()["secret"].clone();
    let webhook_secret = secret(&fresh);
    assert!(webhook_secret.as_str().is_some_and(|text| text.starts_with("whsec_")));

    let revoked = rig.admin().send("DELETE", &format!("/admin/keys/{id}"), None);
    assert_eq!(revoked.json(), json!({"id": id, "revoked": true}));
    assert_eq!(client(&rig, &fresh).get(&path).error(), (401, "Invalid API key".to_owned()));
    let path = format!("/admin/keys/{id}");
    for method in ["GET", "DELETE"] {
        assert_eq!(rig.admin().send(method, &path, None).status, 404, "{method}");
    }
    assert_eq!(patch(json!({})).status, 404);
    assert_eq!(rig.admin().post(&format!("{path}/rotate"), &Value::Null).status, 404);
    let third = made(&rig, &json!({"name": "third", "owner": "acme"}));
    assert_eq!(secret(&third), webhook_secret, "it outlives the owner's keys");
}

#[test]
fn scopes_open_their_routes() {
    let rig = Rig::operated();
    let reader = client(&rig, &made(&rig, &json!({"name": "r", "scopes": ["read"]})));
    assert_eq!(reader.get("/v1/models").status, 200);
    let (status, detail) = reader.post("/generate", &json!({"prompt": "x"})).error();
    assert_eq!(status, 403);
    assert!(detail.contains("may only read") && detail.contains("'submit'"), "{detail}");
    let chat = json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
    let openai = reader.post("/v1/chat/completions", &chat);
    assert_eq!(openai.status, 403);
    assert_eq!(openai.json()["error"]["code"], "permission_denied");
    let message = json!({"model": "demo", "max_tokens": 1, "messages": chat["messages"]});
    let anthropic = reader.post("/v1/messages", &message);
    assert_eq!(
        (anthropic.status, &anthropic.json()["error"]["type"]),
        (403, &json!("permission_error"))
    );
    assert_eq!(reader.get("/admin/overview").status, 403);

    let admin = client(&rig, &made(&rig, &json!({"name": "a", "scopes": ["admin"]})));
    assert_eq!(admin.get("/admin/keys").status, 200);
    assert_eq!(admin.get("/v1/models").status, 401, "no tenant's");
}

#[test]
fn models_and_lanes_are_limited() {
    let rig = Rig::operated();
    rig.report("demo", WorkerStatus::Ready);
    rig.report("other", WorkerStatus::Ready);
    let fields = json!({"name": "l", "models": ["other"], "highest_lane": "low"});
    let client = client(&rig, &made(&rig, &fields));
    let ids = |client: &Client| -> Vec<String> {
        let models = client.get("/v1/models").json();
        let models = models["data"].as_array().unwrap().clone();
        models.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (ids(&client), ids(&rig.client())),
        (vec!["other".into()], vec!["demo".into(), "other".into()])
    );
    let (status, detail) = client.post("/generate", &json!({"prompt": "x"})).error();
    assert_eq!(status, 403, "{detail}");
    assert!(detail.contains("'demo'") && detail.contains("Allowed: other"), "{detail}");
    let submit = |more: Value| {
        let mut body = json!({"prompt": "x", "model": "other"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.post("/generate", &body)
    };
    let (status, detail) = submit(json!({"priority": "high"})).error();
    assert_eq!(status, 403);
    assert!(detail.contains("'high'") && detail.contains("'low'"), "{detail}");
    assert_eq!(submit(json!({"priority": "batch"})).status, 202);
    assert_eq!(submit(json!({})).status, 202);
    let queues = rig.admin().get("/admin/overview").json()["queues"].clone();
    assert_eq!(
        (&queues[0]["queued"]["low"], &queues[0]["queued"]["normal"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn a_key_expires() {
    let rig = Rig::operated();
    let at = protocol::Timestamp::now().as_millis() + 400;
    let client = client(&rig, &made(&rig, &json!({"name": "e", "expires_at": at})));
    assert_eq!(client.get("/webhook-secret").status, 200);
    let refused =
        || Some(client.get("/webhook-secret").error()).filter(|(status, _)| *status == 401);
    let (_, detail) = wait_for("its expiry", SOON, refused);
    assert_eq!(detail, "This API key has expired");
}

#[test]
fn invalid_fields_are_listed() {
    let rig = Rig::operated();
    let reply = rig.admin().post("/admin/keys", &json!({"nam": "x", "scopes": ["all"]}));
    assert_eq!(reply.status, 422, "{reply:?}");
    assert_eq!(reply.json()["detail"].as_array().unwrap().len(), 3, "{reply:?}");
    assert_eq!(rig.admin().get("/admin/keys?limit=0").status, 422);
    assert_eq!(rig.admin().get("/admin/keys/x").status, 404);
}

#[test]
fn one_credential_in_one_header() {
    let rig = Rig::start();
    let ok = |client: &Client, path: &str| client.get(path).status;
    let bearer = format!("Bearer {KEY}");
    let both = rig.client().with("authorization", &bearer);
    assert_eq!(ok(&both, "/webhook-secret"), 200);
    let differ = rig.client().with("authorization", "Bearer another");
    let (status, detail) = differ.get("/webhook-secret").error();
    assert!(status == 400 && detail.contains("different keys"), "{detail}");
    let basic = rig.client().with("authorization", "Basic eDp5");
    assert_eq!(ok(&basic, "/webhook-secret"), 200);
    for name in ["api_key", "key", "token", "access_token"] {
        let (status, detail) = rig.client().get(&format!("/webhook-secret?{name}={KEY}")).error();
        assert!(status == 400 && detail.contains("in the header"), "{detail}");
        assert!(!detail.contains(KEY), "{detail}");
    }
    let long = "k".repeat(20_000);
    assert_eq!(ok(&rig.client_with(Some(&long)), "/webhook-secret"), 401);
}

#[test]
fn wrong_keys_are_slowed_down_and_right_ones_are_not() {
    let rig = Rig::with(|options| {
        options.admin_key = Some(ADMIN_KEY.into());
        options.auth_failures_per_minute = 10;
    });
    let managed = client(&rig, &made(&rig, &json!({"name": "m"})));
    assert_eq!(managed.get("/webhook-secret").status, 200);
    let unknown = format!("qq-{}", "x".repeat(43));
    let mut statuses = Vec::new();
    for n in 0..12 {
        let key = if n % 2 == 0 { "wrong" } else { &*unknown };
        statuses.push(rig.client_with(Some(key)).get("/webhook-secret").status);
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    let reply = rig.client_with(Some("wrong")).get("/webhook-secret");
    assert!(reply.header("retry-after").is_some_and(|s| (1..=6).contains(&s.parse().unwrap())));
    for client in [rig.client(), managed] {
        assert_eq!(client.get("/webhook-secret").status, 200);
    }
    assert_eq!(rig.client_with(None).get("/webhook-secret").status, 401, "no attempt");
}

#[test]
fn tokens_open_their_subjects_tasks() {
    let secret = "0123456789abcdef0123456789abcdef";
    let rig = Rig::with(|options| {
        let secret = Some(secret.to_owned());
        options.jwt = Some(JwtOptions { secret, leeway_s: 0, ..JwtOptions::default() });
    });
    let now = protocol::Timestamp::now().as_millis() / 1000;
    let bearer = |claims: &Value| {
        let token = harness_token(secret, claims);
        rig.client_with(None).with("authorization", &format!("Bearer {token}"))
    };
    let ada = bearer(&json!({"sub": "ada", "exp": now + 60}));
    let reply = ada.post("/generate", &json!({"prompt": "x"}));
    assert_eq!(reply.status, 202, "{reply:?}");
    let path = format!("/status/{}", reply.json()["task_id"].as_str().unwrap());
    assert_eq!(
        bearer(&json!({"sub": "ada", "exp": now + 9, "scope": "read"})).get(&path).status,
        200
    );
    assert_eq!(bearer(&json!({"sub": "bob", "exp": now + 60})).get(&path).status, 404);
    let (status, detail) = bearer(&json!({"sub": "ada", "exp": now - 1})).get(&path).error();
    assert_eq!((status, &*detail), (401, "Invalid token: it has expired (exp)"));
    let token = harness_token(secret, &json!({"sub": "ada", "exp": now + 60}));
    assert_eq!(rig.client_with(Some(&token)).get(&path).status, 401, "in the other header");
    let admin = bearer(&json!({"sub": "ada", "exp": now + 60, "scopes": ["admin"]}));
    assert_eq!(admin.get("/admin/overview").status, 200);
}

/// Signs claims with HS256.
fn harness_token(secret: &str, claims: &Value) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use ring::hmac;
    let part = |value: &Value| BASE64.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({"alg": "HS256"})), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = BASE64.encode(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signed}")
}

#[test]
fn uses_are_noted() {
    let mut rig = Rig::operated();
    let key = made(&rig, &json!({"name": "u"}));
    assert_eq!(key["last_used_at"], Value::Null);
    assert_eq!(client(&rig, &key).get("/webhook-secret").status, 200);
    rig.request_stop();
    rig.stopped(); // stores what was noted
    let id = protocol::KeyId::from_text(key["id"].as_str().unwrap());
    let stored = rig.wait(rig.broker.key(&id)).unwrap().unwrap();
    assert!(stored.key.last_used_at.is_some(), "{stored:?}");
}
