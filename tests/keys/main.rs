//! Managed keys, limits and usage, from outside: several gateways, real stores, kills, and a hostile client.

mod hostile;
mod limits;
mod quotas;
mod revoking;

use std::time::Duration;

use harness::client::Client;
use harness::process::ADMIN_KEY;
use serde_json::{Value, json};

/// The time within which a change of a key must hold at every gateway.
const PROMPT: Duration = Duration::from_secs(1);

/// A managed key, as its operator got it.
struct Made {
    id: String,
    key: String,
}

/// Creates a managed key through the gateway on `port`.
fn make_key(port: u16, fields: &Value) -> Made {
    let answer = Client::with_key(port, ADMIN_KEY).post("/admin/keys", fields);
    assert_eq!(answer.status, 201, "{answer:?}");
    let text = |name: &str| answer.body[name].as_str().expect("a text").to_owned();
    Made { id: text("id"), key: text("key") }
}

/// Returns a submit of a task that no worker runs to its end soon.
fn prompt(n: usize) -> Value {
    json!({"prompt": format!("What is a lease? ({n})"), "temperature": 0.0, "max_tokens": 8})
}
