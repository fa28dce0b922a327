//! Tests the listener that `/admin` may have of its own.

use serde_json::json;
use service::settings::Origins;

use crate::client::Client;
use crate::openai::CHAT;
use crate::rig::{ADMIN_KEY, KEY, Rig};

#[test]
fn operators_routes_move_to_their_listener() {
    let rig = Rig::with_two_listeners(|options| options.cors_origins = Origins::Any);
    let inside = |key| Client::new(&format!("http://{}", rig.admin_address.unwrap()), key);
    let outside = rig.admin();
    let pause = json!({"model": "demo"});

    for reply in [
        outside.get("/admin/overview"),
        outside.get("/admin/workers"),
        outside.get("/admin/nowhere"),
        outside.post("/admin/pause", &pause),
        outside.send("DELETE", "/admin/dead-letters?all=true", None),
        rig.client_with(None).get("/admin/overview"),
    ] {
        assert_eq!(reply.error(), outside.get("/nowhere").error(), "{reply:?}");
        assert_eq!(reply.status, 404);
    }
    let operator = inside(Some(ADMIN_KEY));
    for (reply, status) in [
        (operator.get("/admin/overview"), 200),
        (operator.post("/admin/pause", &pause), 200),
        (operator.get("/health"), 200),
        (inside(None).get("/health"), 200),
        (inside(None).get("/admin/overview"), 401),
        (inside(Some(KEY)).get("/admin/overview"), 403),
        (operator.get("/"), 404),
        (operator.get("/docs"), 404),
        (inside(Some(KEY)).post("/generate", &json!({"prompt": "a"})), 404),
        (inside(Some(KEY)).post(CHAT, &json!({})), 404),
        (inside(Some(KEY)).get("/v1/models"), 404),
        (operator.get("/admin/pause"), 405),
    ] {
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(reply.header("x-request-id").is_some(), "{reply:?}");
    }
    let page = operator.with("origin", "https://any.example").get("/admin/overview");
    assert_eq!(page.header("access-control-allow-origin"), None, "no page of another site");

    // Everything else is where it was.
    for path in ["/", "/health", "/docs", "/openapi.json", "/v1/models"] {
        assert_eq!(rig.client().get(path).status, 200, "{path}");
    }
    assert_eq!(rig.client().post("/generate", &json!({"prompt": "a"})).status, 202);
}
