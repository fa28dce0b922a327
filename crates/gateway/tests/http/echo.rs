//! The made-up family of routes.

use serde_json::json;

use crate::rig::Rig;

#[test]
fn a_family_of_routes_has_its_own_answers_and_errors() {
    let rig = Rig::start();
    let reply = rig.client().post("/echo/hello", &json!({}));
    assert_eq!(reply.status, 202);
    for (reply, status, why) in [
        (rig.client_with(None).post("/echo/hello", &json!({})), 401, "invalid_api_key"),
        (rig.client().get("/echo/hello"), 405, "method_not_allowed"),
        (rig.client().get("/echo/a/b"), 404, "no_such_path"),
    ] {
        assert_eq!((reply.status, reply.json()["why"].as_str()), (status, Some(why)));
    }
    assert!(rig.client().get("/nope").json()["detail"].is_string(), "other paths keep their shape");
}
