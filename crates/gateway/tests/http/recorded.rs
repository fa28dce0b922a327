//! Compares the native API's responses byte by byte with recorded ones. To change a response on
//! purpose, record again (`RECORD=1 cargo nextest run -p qwen-queue-gateway recorded`) and commit
//! the difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::{ErrorType, Outcome, TaskError, TaskId, WorkerStatus};
use queue::Claimed;
use serde::Deserialize;
use serde_json::Value;

use crate::client::Reply;
use crate::rig::{ADMIN_KEY, KEY, OTHER_KEY, Rig, answer};

/// The headers that are part of the contract.
const HEADERS: [&str; 10] = [
    "allow",
    "cache-control",
    "content-type",
    "idempotent-replayed",
    "location",
    "preference-applied",
    "retry-after",
    "www-authenticate",
    "x-should-retry",
    "x-content-type-options",
];

/// One line of `recorded/requests.jsonl`.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Step {
    /// A request whose response is recorded.
    Send {
        send: String,
        #[serde(default)]
        key: Option<String>,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        json: Option<Value>,
        /// A body that is sent unchanged.
        #[serde(default)]
        text: Option<String>,
        /// The name under which the response's task id is saved.
        #[serde(default)]
        save: Option<String>,
    },
    /// An action of a worker.
    Worker { worker: String },
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/recorded")
}

#[test]
fn the_native_api_answers_as_recorded() {
    let requests = std::fs::read_to_string(folder().join("requests.jsonl")).unwrap();
    let steps = requests.lines().map(|line| {
        serde_json::from_str::<Step>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let mut play = Play::new();
    let mut answers = String::new();
    let mut count = 0;
    for step in steps {
        if let Some(answer) = play.step(step) {
            count += 1;
            answers += &format!("{answer}\n");
        }
    }
    assert_eq!(count, 100);
    let file = folder().join("answers.txt");
    if std::env::var_os("RECORD").is_some() {
        std::fs::write(&file, answers).unwrap();
        return;
    }
    let recorded = std::fs::read_to_string(&file).unwrap();
    for (ours, theirs) in answers.split("\n\n").zip(recorded.split("\n\n")) {
        assert_eq!(ours, theirs, "differs from {}", file.display());
    }
    assert_eq!(answers, recorded);
}

struct Play {
    rig: Rig,
    saved: BTreeMap<String, TaskId>,
    claimed: Option<Claimed>,
}

impl Play {
    fn new() -> Self {
        let rig = Rig::with(|options| {
            options.admin_key = Some(ADMIN_KEY.into());
            options.max_prompt_bytes = 1000;
            options.max_new_tokens = 512;
            options.max_tenant_tasks = 6;
        });
        Self { rig, saved: BTreeMap::new(), claimed: None }
    }

    fn step(&mut self, step: Step) -> Option<String> {
        match step {
            Step::Worker { worker } => {
                self.work(&worker);
                None
            }
            Step::Send { send, key, headers, json, text, save } => {
                let (method, path) = send.split_once(' ').unwrap();
                let path = self.fill(path);
                let mut client = self.rig.client_with(match key.as_deref() {
                    None => Some(KEY),
                    Some("other") => Some(OTHER_KEY),
                    Some("admin") => Some(ADMIN_KEY),
                    Some("none") => None,
                    Some(other) => Some(other),
                });
                for (name, value) in &headers {
                    client = client.with(name, value);
                }
                if json.is_some() {
                    client = client.with("content-type", "application/json");
                }
                let body = json.map(|json| json.to_string()).or(text);
                let reply = client.send(method, &path, body.as_deref().map(str::as_bytes));
                if let Some(name) = save {
                    let body: Value = serde_json::from_str(&reply.text).unwrap();
                    self.saved.insert(name, crate::rig::task_id(&body));
                }
                Some(format!("{send}\n{}", self.record(&reply)))
            }
        }
    }

    /// Replaces the names of saved tasks by their ids.
    fn fill(&self, path: &str) -> String {
        self.saved.iter().fold(path.to_owned(), |path, (name, id)| {
            path.replace(&format!("{{{name}}}"), &id.to_string())
        })
    }

    fn work(&mut self, what: &str) {
        let rig = &self.rig;
        match what {
            "claims" => self.claimed = Some(rig.claim()),
            "publishes" => rig.publish(self.claimed.as_ref().unwrap(), &["Be", "cause."]),
            "completes" => rig.finish(&self.claimed.take().unwrap(), &answer("Because.")),
            "fails" => {
                let error =
                    TaskError::new(ErrorType::EngineError, "the engine failed: \"boom\"\nat once");
                rig.finish(&self.claimed.take().unwrap(), &Outcome::Failed(error));
            }
            "gives back" => rig.fail(&self.claimed.take().unwrap()),
            "reports" => {
                rig.report("demo", WorkerStatus::Ready);
            }
            other => panic!("a worker does not know how it {other}"),
        }
    }

    /// Formats status, the contract's headers and the body, with varying values masked.
    fn record(&self, reply: &Reply) -> String {
        let mut text = format!("{}\n", reply.status);
        for name in HEADERS {
            if let Some(value) = reply.header(name) {
                text += &format!("{name}: {value}\n");
            }
        }
        mask(&(text + &reply.text + "\n"), &self.saved)
    }
}

/// Masks ids, times and durations.
fn mask(text: &str, saved: &BTreeMap<String, TaskId>) -> String {
    let text = saved.iter().fold(text.to_owned(), |text, (name, id)| {
        text.replace(&id.to_string(), &format!("<{name}>"))
    });
    let uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    let text = regex(uuid).replace_all(&text, "<uuid>").into_owned();
    let varying = r#""(queue_wait_time|processing_time|total_time|tokens_per_second|low|high|at|uptime_s|[a-z_]+_at|[a-z_]*seconds?|[a-z_]+_s)":[-0-9.e]+"#;
    let text = regex(varying).replace_all(&text, "\"$1\":<number>").into_owned();
    let instant = r#""[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z""#;
    regex(instant).replace_all(&text, "\"<time>\"").into_owned()
}

fn regex(pattern: &str) -> regex::Regex {
    regex::Regex::new(pattern).unwrap()
}
