//! Tests changes of the keys while the gateway runs.

use std::time::Duration;

use gateway::options::Keys;
use harness::receiver::Receiver;
use harness::wait_for;
use serde_json::json;
use tokio::sync::watch;

use crate::rig::{ADMIN_KEY, KEY, OTHER_KEY, Rig, answer};

const SOON: Duration = Duration::from_secs(20);

fn keys(api: &[&str], admin: Option<&str>) -> Keys {
    Keys {
        api: api.iter().map(|key| (*key).to_owned()).collect(),
        admin: admin.map(str::to_owned),
        jwt: None,
    }
}

fn changing(first: Keys) -> (Rig, watch::Sender<Keys>) {
    let (sender, receiver) = watch::channel(first);
    let rig = Rig::with(|options| {
        options.admin_key = Some(ADMIN_KEY.into());
        options.key_changes = Some(receiver);
        options.webhook_allow_private = true;
    });
    (rig, sender)
}

#[test]
fn added_keys_are_accepted_and_removed_keys_are_refused() {
    let (rig, sender) = changing(keys(&[KEY, OTHER_KEY], Some(ADMIN_KEY)));
    let status = |key: &str| rig.client_with(Some(key)).get("/webhook-secret").status;
    let operates = |key: &str| rig.client_with(Some(key)).get("/admin/workers").status;
    assert_eq!([status(KEY), status(OTHER_KEY), status("test-key-3")], [200, 200, 401]);
    let task = rig.submit("before");

    sender.send_replace(keys(&["test-key-3", OTHER_KEY], Some("test-operator-2")));
    wait_for("the new key", SOON, || (status("test-key-3") == 200).then_some(()));
    assert_eq!([status(KEY), status(OTHER_KEY)], [401, 200]);
    assert_eq!([operates("test-operator-2"), operates(ADMIN_KEY), operates(KEY)], [200, 401, 401]);

    sender.send_replace(keys(&["test-key-3"], None));
    wait_for("closed admin routes", SOON, || (operates("test-operator-2") == 403).then_some(()));

    // Unusable keys are ignored.
    for bad in [keys(&[], None), keys(&[""], None), keys(&["a b"], None), keys(&[KEY], Some(""))] {
        sender.send_replace(bad);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!([status("test-key-3"), status(KEY)], [200, 401]);
    }
    // A key that is added again has access to its earlier tasks.
    sender.send_replace(keys(&[KEY], Some(ADMIN_KEY)));
    wait_for("the old key", SOON, || (status(KEY) == 200).then_some(()));
    assert_eq!(rig.client().get(&format!("/status/{task}")).status, 200);
    assert_eq!(operates(ADMIN_KEY), 200);
}

#[test]
fn key_change_before_the_start_takes_effect() {
    let (rig, _sender) = changing(keys(&["test-key-3"], None));
    let status = |key: &str| rig.client_with(Some(key)).get("/webhook-secret").status;
    wait_for("the new key", SOON, || (status("test-key-3") == 200).then_some(()));
    assert_eq!(status(KEY), 401);
}

#[test]
fn open_tasks_of_a_removed_key_keep_their_webhook_signature() {
    let (rig, sender) = changing(keys(&[KEY], None));
    let receiver = Receiver::kind();
    let submit = |key: &str| {
        let body = json!({"prompt": "x", "webhook_url": receiver.url("/")});
        let reply = rig.client_with(Some(key)).post("/generate", &body);
        reply.json()["task_id"].as_str().unwrap().to_owned()
    };
    let old_task = submit(KEY);
    sender.send_replace(keys(&["test-key-3"], None));
    let refused = || rig.client().get("/webhook-secret").status == 401;
    wait_for("the change", SOON, || refused().then_some(()));
    let new_task = submit("test-key-3");
    for _ in 0..2 {
        let claimed = rig.claim();
        rig.finish(&claimed, &answer("done"));
    }
    receiver.wait_for(2, SOON);
    for (task, key) in [(old_task, KEY), (new_task, "test-key-3")] {
        let heard = receiver.requests_for(&task).pop().expect("its webhook");
        let timestamp = heard.header("webhook-timestamp").parse().unwrap();
        let signed = webhooks::Secret::of_key(key).sign(&task, timestamp, &heard.body);
        assert_eq!(heard.header("webhook-signature"), signed, "{task}");
    }
}
