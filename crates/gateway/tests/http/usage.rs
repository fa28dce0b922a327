//! Tests the reports of use: an owner's own, and the operators'.

use protocol::{ErrorType, KeyLimits, Outcome, TaskError};
use serde_json::{Value, json};

use crate::rig::{ADMIN_KEY, OTHER_KEY, Rig, answer};

fn used() -> Rig {
    let rig = Rig::with(|options| {
        options.admin_key = Some(ADMIN_KEY.into());
        options.common_limits.owner = KeyLimits {
            tokens_per_day: Some(10_000),
            max_in_flight: Some(5),
            ..KeyLimits::default()
        };
    });
    rig.submit("one");
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("Because."));
    rig.submit("two");
    let claimed = rig.claim();
    rig.finish(&claimed, &Outcome::Failed(TaskError::new(ErrorType::EngineError, "boom")));
    rig.client_with(Some(OTHER_KEY)).post("/generate", &json!({"prompt": "three"}));
    let claimed = rig.claim();
    rig.finish(&claimed, &answer("Because."));
    rig
}

#[test]
fn owners_see_their_own_use_and_what_is_left() {
    let rig = used();
    rig.client().post("/generate", &json!({"prompt": "four", "max_tokens": 100}));
    let reply = rig.client().get("/v1/usage");
    assert_eq!(reply.status, 200, "{reply:?}");
    let report = reply.json();
    assert_eq!((&report["object"], &report["group_by"]), (&json!("usage"), &json!(["day"])));
    assert_eq!(report["rows"].as_array().unwrap().len(), 1, "{report}");
    let total = &report["total"];
    assert_eq!(total["requests"], 2, "{report}");
    assert_eq!((&total["errors"], &total["cancelled"]), (&json!(1), &json!(0)));
    assert_eq!((&total["prompt_tokens"], &total["completion_tokens"]), (&json!(12), &json!(34)));
    assert_eq!(total["cached_tokens"], 8);
    let limit = |kind: &str| -> Value {
        let limits = report["limits"].as_array().unwrap();
        limits.iter().find(|limit| limit["kind"] == kind).unwrap().clone()
    };
    let day = limit("tokens_per_day");
    let reserved = day["reserved"].as_u64().unwrap();
    assert!((100..140).contains(&reserved), "{day}");
    assert_eq!((&day["limit"], &day["of"]), (&json!(10_000), &json!("owner")));
    assert_eq!(day["remaining"], 10_000 - 46 - reserved, "{day}");
    assert_eq!(limit("in_flight")["remaining"], 4);

    let by_key = rig.client().get("/v1/usage?group_by=key,model").json();
    let row = &by_key["rows"][0];
    assert!(row["key"].as_str().unwrap().starts_with("env_"), "{row}");
    assert_eq!((&row["model"], row.get("day")), (&json!("demo"), None));
    let before = rig.client().get("/v1/usage?from=2020-01-01&to=2020-01-31").json();
    assert_eq!((&before["rows"], &before["total"]["requests"]), (&json!([]), &json!(0)));
}

#[test]
fn operators_see_the_use_of_all_owners() {
    let rig = used();
    let report = rig.admin().get("/admin/usage").json();
    assert_eq!((&report["group_by"], &report["total"]["requests"]), (&json!(["owner"]), &json!(3)));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{report}");
    let owner = rows.iter().find(|row| row["requests"] == 2).unwrap()["owner"].as_str().unwrap();
    let one = rig.admin().get(&format!("/admin/usage?owner={owner}&group_by=day,key")).json();
    assert_eq!((&one["total"]["requests"], &one["total"]["errors"]), (&json!(2), &json!(1)));
    assert!(one["rows"][0].get("owner").is_none(), "{one}");
    assert_eq!(rig.admin().get("/admin/usage?owner=nobody").json()["total"]["requests"], 0);
}

#[test]
fn invalid_queries_are_refused_and_keys_are_checked() {
    let rig = used();
    for query in
        ["from=yesterday", "to=2025-13-01", "group_by=hour", "from=2020-01-01&to=2025-01-01"]
    {
        let refused = rig.client().get(&format!("/v1/usage?{query}"));
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (400, &json!("invalid_value"))
        );
        assert_eq!(rig.admin().get(&format!("/admin/usage?{query}")).status, 422, "{query}");
    }
    assert_eq!(rig.client_with(None).get("/v1/usage").status, 401);
    assert_eq!(rig.admin().get("/v1/usage").status, 401, "operators own no tasks");
    assert_eq!(rig.client().get("/admin/usage").status, 403);
}
