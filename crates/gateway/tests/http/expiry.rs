//! Tests requests for expired results.

use std::time::Duration;

use protocol::TaskId;
use serde_json::json;

use crate::rig::{OTHER_KEY, Rig, answer, task_id};

const ROUTES: [(&str, &str); 4] =
    [("GET", "status"), ("GET", "result"), ("GET", "events"), ("POST", "cancel")];

/// Creates a task that has ended and whose result has expired.
fn expired(rig: &Rig) -> TaskId {
    let reply = rig.client().post("/generate", &json!({"prompt": "Quick", "result_ttl_s": 1}));
    let id = task_id(&reply.json());
    rig.finish(&rig.claim(), &answer("Done."));
    assert_eq!(rig.client().get(&format!("/result/{id}")).status, 200);
    for _ in 0..100 {
        if rig.client().get(&format!("/result/{id}")).status != 200 {
            return id;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the result of {id} never expires");
}

#[test]
fn expired_result_is_a_410_for_its_owner() {
    let rig = Rig::with(|options| options.result_ttl_s = 77);
    let id = expired(&rig);
    for (method, route) in ROUTES {
        let reply = rig.client().send(method, &format!("/{route}/{id}"), None);
        let (status, detail) = reply.error();
        assert_eq!(status, 410, "{route}: {detail}");
        for part in [id.to_string().as_str(), "77 s", "RESULT_TTL", "Submit the prompt again"] {
            assert!(detail.contains(part), "{route}: {detail}");
        }
        assert_eq!(reply.header("x-should-retry"), Some("false"), "{route}");
    }
    let waited = rig.client().get(&format!("/result/{id}?wait=30"));
    assert_eq!(waited.status, 410, "there is nothing to wait for");
}

#[test]
fn expired_result_is_a_404_for_other_tenants() {
    let rig = Rig::start();
    let id = expired(&rig);
    let stranger = rig.client_with(Some(OTHER_KEY));
    let unknown = TaskId::new();
    for (method, route) in ROUTES {
        let gone = stranger.send(method, &format!("/{route}/{id}"), None);
        let none = stranger.send(method, &format!("/{route}/{unknown}"), None);
        assert_eq!((gone.status, none.status), (404, 404), "{route}");
        assert_eq!(
            gone.text.replace(&id.to_string(), "ID"),
            none.text.replace(&unknown.to_string(), "ID")
        );
    }
}
