//! Webhooks end to end: real processes, a test receiver, and the verification code from
//! docs/API.md.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::client::Client;
use harness::process::{Home, KEY, Process, binary};
use harness::receiver::{ReceivedRequest, Receiver, ReceiverReply};
use harness::redis::RedisServer;
use harness::{free_port, wait_for};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// Longer than a deliverer's lease (30 s).
const LEASE: Duration = Duration::from_secs(45);

/// Returns the example in `docs/API.md`, with assertions of what a receiver needs.
fn verification() -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/API.md");
    let docs = std::fs::read_to_string(docs).expect("docs/API.md");
    let after = docs.split_once("```python\n").expect("an example in Python").1;
    let example = after.split_once("```").expect("its end").0;
    let questions = r#"
import json, sys
asked = json.load(sys.stdin)
secret, headers, body = asked["secret"], asked["headers"], asked["body"].encode()
assert verify(secret, headers, body), "the original message must verify"
assert not verify(secret, headers, body + b" "), "another body must not verify"
assert not verify(secret, {**headers, "webhook-id": "x"}, body), "another id must not verify"
assert not verify("whsec_" + base64.b64encode(b"x" * 32).decode(), headers, body), "another secret must not verify"
assert not verify(secret, {**headers, "webhook-timestamp": "1614265330"}, body), "an old timestamp must not verify"
print("verified")
"#;
    format!("{example}{questions}")
}

/// Asserts that a receiver which follows the documentation accepts the message.
fn verify(heard: &ReceivedRequest, secret: &Value) {
    let python = std::env::var("QWEN_QUEUE_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let asked = json!({
        "secret": secret,
        "headers": heard.headers,
        "body": String::from_utf8(heard.body.clone()).expect("UTF-8"),
    });
    let mut child = Command::new(python)
        .args(["-c", &verification()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cannot run Python");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(asked.to_string().as_bytes()).expect("Python did not read its input");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "verified\n", "{errors}");
}

fn secret(client: &Client) -> Value {
    client.get("/webhook-secret").body["secret"].clone()
}

/// Waits until a task's webhook is in this state and returns its report.
fn report(client: &Client, task: &str, state: &str, limit: Duration) -> Value {
    wait_for(&format!("the webhook of {task} to be {state}"), limit, || {
        let answer = client.get(&format!("/webhook/{task}"));
        (answer.body["state"] == state).then_some(answer.body)
    })
}

/// Every kind of outcome is sent once, with a valid signature and the body of `GET /result`.
fn assert_every_outcome_sent(client: &Client) {
    let receiver = Receiver::kind();
    let with = |mut body: Value, path: &str| {
        body["webhook_url"] = json!(receiver.url(path));
        body["metadata"] = json!({"order": path});
        client.submit(&body)
    };
    let completed =
        with(json!({"prompt": "How do I add a worker?", "max_tokens": 16}), "/1?t=s3cret");
    let failed = with(json!({"prompt": "too long ".repeat(5_000)}), "/2");
    let cancelled = with(json!({"prompt": "never", "delay_s": 600}), "/3");
    assert_eq!(client.get(&format!("/webhook/{cancelled}")).body["state"], "waiting");
    assert_eq!(client.post(&format!("/cancel/{cancelled}"), &json!({})).status, 200);

    let secret = secret(client);
    for (task, kind, path) in [
        (&completed, "task.completed", "/1?t=s3cret"),
        (&failed, "task.failed", "/2"),
        (&cancelled, "task.cancelled", "/3"),
    ] {
        let report = report(client, task, "delivered", SOON);
        assert_eq!(report["tries"].as_array().map(Vec::len), Some(1), "{report}");
        assert_eq!(report["tries"][0]["status"], 204, "{report}");
        assert_eq!(report["url"], receiver.url(path));
        assert_eq!(report.get("next_at"), None, "{report}");
        let heard = receiver.requests_for(task);
        assert_eq!(heard.len(), 1, "{task} is sent once");
        verify(&heard[0], &secret);
        assert_eq!(heard[0].line, format!("POST {path} HTTP/1.1"));
        let told = heard[0].json();
        assert_eq!(told["type"], kind);
        let mut expected = client.get(&format!("/result/{task}")).body;
        expected["metadata"] = json!({"order": path});
        assert_eq!(told["data"], expected, "the body must equal that of GET /result");
    }
    assert_eq!(
        receiver.requests_for(&failed)[0].json()["data"]["error_type"],
        "context_length_exceeded"
    );
    std::thread::sleep(LEASE - Duration::from_secs(10));
    assert_eq!(receiver.heard().len(), 3, "a delivery was repeated");
}

#[test]
fn up_sends_every_outcome() {
    let (home, port) = (Home::new(), free_port());
    let port_text = port.to_string();
    let settings =
        [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("WEBHOOK_ALLOW_PRIVATE", "true")];
    let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut up, true);
    assert_every_outcome_sent(&client);
    let receiver = Receiver::kind();
    let typed = Command::new(binary("qwen-queue"))
        .args([
            "submit",
            "What is a lease?",
            "--max-tokens",
            "4",
            "--webhook-url",
            &receiver.url("/4"),
        ])
        .env("QWEN_QUEUE_URL", format!("http://127.0.0.1:{port}"))
        .env("QWEN_QUEUE_API_KEY", KEY)
        .output()
        .expect("qwen-queue runs");
    let task = String::from_utf8_lossy(&typed.stdout).trim().to_owned();
    report(&client, &task, "delivered", SOON);
    assert_eq!(receiver.requests_for(&task).len(), 1);

    let log = home.read("logs/app.log");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("webhook delivered")).collect();
    assert_eq!(told.len(), 4, "{log}");
    assert!(told.iter().all(|line| line.contains(" - webhooks.deliver - INFO - ")), "{told:?}");
    assert!(told.iter().all(|line| line.contains("host=\"127.0.0.1\"")), "{told:?}");
    assert!(!log.contains("s3cret") && !log.contains("whsec_"), "a secret in the log:\n{log}");
}

/// Gateways and a worker that share a Redis.
struct Several {
    redis: RedisServer,
    gateways: Vec<(Home, Process, Client)>,
    worker: Option<(Home, Process)>,
}

impl Several {
    fn start() -> Self {
        let mut several =
            Self { redis: RedisServer::durable(), gateways: Vec::new(), worker: None };
        several.add_gateway();
        let home = Home::new();
        let url = several.redis.url();
        let worker = Process::start(&home, "qwen-queue-worker", &[], &[("REDIS_URL", &url)]);
        several.worker = Some((home, worker));
        let (_, process, client) = &mut several.gateways[0];
        client.wait_until_healthy(process, true);
        several
    }

    fn add_gateway(&mut self) {
        let (home, port, url) = (Home::new(), free_port(), self.redis.url());
        let port_text = port.to_string();
        let settings = [
            ("PORT", port_text.as_str()),
            ("API_KEYS", KEY),
            ("REDIS_URL", &url),
            ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ];
        let mut process = Process::start(&home, "qwen-queue-gateway", &[], &settings);
        let client = Client::new(port);
        client.wait_until_healthy(&mut process, false);
        self.gateways.push((home, process, client));
    }

    /// Kills the first gateway with SIGKILL.
    fn kill_gateway(&mut self) {
        let (_home, process, _) = self.gateways.remove(0);
        process.kill_9();
    }

    fn signal_worker(&self, name: &str) {
        self.worker.as_ref().expect("a worker").1.signal(name);
    }

    fn client(&self) -> &Client {
        &self.gateways[0].2
    }

    fn submit(&self, url: String) -> String {
        let body = json!({"prompt": "How do I add a worker?", "max_tokens": 4, "webhook_url": url});
        self.client().submit(&body)
    }
}

#[test]
fn a_gateway_on_redis_sends_every_outcome() {
    assert_every_outcome_sent(Several::start().client());
}

#[test]
fn a_receiver_that_is_down_gets_the_webhook_later() {
    let several = Several::start();
    let port = free_port();
    let task = several.submit(format!("http://127.0.0.1:{port}/late"));
    let report_so_far = wait_for("a failed try", SOON, || {
        let answer = several.client().get(&format!("/webhook/{task}"));
        (!answer.body["tries"].as_array()?.is_empty()).then_some(answer.body)
    });
    assert_eq!(report_so_far["state"], "pending", "{report_so_far}");
    assert_eq!(report_so_far["tries"][0]["error"], "the receiver can't be connected to");
    assert!(report_so_far["next_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    let receiver = Receiver::on(port, |_| ReceiverReply::status(200));
    let report = report(several.client(), &task, "delivered", SOON);
    assert!(report["tries"].as_array().is_some_and(|tries| tries.len() >= 2), "{report}");
    assert_eq!(receiver.requests_for(&task).len(), 1);
    verify(&receiver.heard()[0], &secret(several.client()));
    let log = several.gateways[0].0.read("logs/app.log");
    let failed = log.lines().find(|line| line.contains("webhook failed")).expect("a line");
    assert!(
        failed.contains(" - webhooks.deliver - WARN - ") && failed.contains("again in"),
        "{failed}"
    );
}

#[test]
fn another_gateway_delivers_after_kill_9_during_a_delivery() {
    let mut several = Several::start();
    let receiver =
        Receiver::start(
            |nth| if nth == 0 { ReceiverReply::Silence } else { ReceiverReply::status(200) },
        );
    let task = several.submit(receiver.url("/"));
    receiver.wait_for(1, SOON);
    several.kill_gateway();
    several.add_gateway();
    report(several.client(), &task, "delivered", LEASE);
    let heard = receiver.requests_for(&task);
    assert_eq!(heard.len(), 2, "the same webhook-id for both tries");
    assert_eq!(heard[0].body, heard[1].body);
    verify(&heard[1], &secret(several.client()));
}

#[test]
fn an_outcome_recorded_without_a_gateway_is_sent_by_the_next_one() {
    let mut several = Several::start();
    let receiver = Receiver::kind();
    several.signal_worker("STOP");
    let task = several.submit(receiver.url("/"));
    several.kill_gateway();
    several.signal_worker("CONT");
    wait_for("the task's end", SOON, || {
        let log = several.worker.as_ref()?.0.read("logs/llm_requests.log");
        log.contains(&task).then_some(())
    });
    assert!(receiver.heard().is_empty());
    several.add_gateway();
    report(several.client(), &task, "delivered", SOON);
    assert_eq!(receiver.requests_for(&task).len(), 1);
}

#[test]
fn private_addresses_get_no_webhooks_unless_allowed() {
    let (home, port, receiver) = (Home::new(), free_port(), Receiver::kind());
    let port_text = port.to_string();
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY)];
    let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut up, true);
    for url in [receiver.url("/"), receiver.url("/").replace("127.0.0.1", "0x7f.1")] {
        let answer = client.post("/generate", &json!({"prompt": "x", "webhook_url": url}));
        assert_eq!(answer.status, 422, "{answer:?}");
        let said = answer.body["detail"][0]["msg"].as_str().expect("words");
        assert!(said.contains("not public") && said.contains("WEBHOOK_ALLOW_PRIVATE"), "{said}");
    }
}
