//! Tests the operators' routes: authentication, overview, pausing and draining.

use std::time::Duration;

use protocol::{ModelReport, Timestamp, WorkerId, WorkerStatus};
use serde_json::{Value, json};

use crate::images_kept::served;
use crate::rig::{ADMIN_KEY, KEY, Rig, answer};

/// All routes, with a body where one is required.
const ROUTES: [(&str, &str); 11] = [
    ("GET", "/admin/overview"),
    ("GET", "/admin/history"),
    ("GET", "/admin/workers"),
    ("POST", "/admin/workers/5b32de93-0eda-4ed5-948f-619e00a7c75d/drain"),
    ("POST", "/admin/pause"),
    ("POST", "/admin/resume"),
    ("GET", "/admin/dead-letters"),
    ("DELETE", "/admin/dead-letters?all=true"),
    ("GET", "/admin/dead-letters/0192f0c1-2345-7abc-8def-0123456789ab"),
    ("DELETE", "/admin/dead-letters/0192f0c1-2345-7abc-8def-0123456789ab"),
    ("POST", "/admin/dead-letters/0192f0c1-2345-7abc-8def-0123456789ab/replay"),
];

#[test]
fn admin_routes_are_closed_without_an_admin_key() {
    let rig = Rig::start();
    for (method, path) in ROUTES {
        for key in [None, Some(KEY), Some(ADMIN_KEY)] {
            let reply = rig.client_with(key).send(method, path, None);
            let (status, detail) = reply.error();
            assert_eq!(status, 403, "{method} {path}");
            assert!(detail.contains("set ADMIN_API_KEY"), "{detail}");
            assert_eq!(reply.header("x-should-retry"), Some("false"));
        }
    }
}

#[test]
fn admin_routes_require_the_admin_key() {
    let rig = Rig::operated();
    for (method, path) in ROUTES {
        let status = |client: crate::client::Client| client.send(method, path, None).status;
        assert_eq!(status(rig.client()), 403, "{method} {path}");
        for stranger in [None, Some(""), Some("wrong"), Some("test-operator-11")] {
            assert_eq!(status(rig.client_with(stranger)), 401, "{method} {path} {stranger:?}");
        }
        let mine = status(rig.admin());
        assert!(!matches!(mine, 401 | 403), "{method} {path}: {mine}");
        let bearer = rig.client_with(None).with("authorization", &format!("Bearer {ADMIN_KEY}"));
        assert_eq!(status(bearer), mine, "{method} {path}");
    }
    let reply = rig.admin().post("/generate", &json!({"prompt": "x"}));
    assert_eq!(reply.status, 401, "an operator is no tenant");
}

#[test]
fn history_is_of_the_minutes_that_are_asked_for() {
    let rig = Rig::operated();
    for path in ["/admin/history", "/admin/history?minutes=60"] {
        assert_eq!(rig.admin().get(path).json()["interval_seconds"], 10, "{path}");
    }
    let day = rig.admin().get("/admin/history?minutes=360").json();
    assert_eq!((&day["interval_seconds"], &day["points"]), (&json!(60), &json!([])));
    for minutes in ["0", "361", "-1", "x", "99999999999999999999"] {
        let problem = rig.admin().get(&format!("/admin/history?minutes={minutes}")).problem();
        assert_eq!(problem["loc"], json!(["query", "minutes"]), "{minutes}");
        let message = format!("must be a whole number from 1 to 360, got '{minutes}'");
        assert_eq!(problem["msg"], *message);
    }
}

#[test]
fn a_worker_that_reports_but_asks_for_no_tasks_is_deaf() {
    let rig = Rig::operated();
    let with =
        |running| vec![ModelReport { since_claim_ms: Some(31_000), running, ..served(None) }];
    let deaf = rig.report_of("demo", WorkerStatus::Ready, with(0));
    let ready = || {
        let reply = rig.client_with(None).get("/ready");
        (reply.status, reply.json()["reason"].clone())
    };
    let reason = format!(
        "the worker {deaf} reports but does not ask for tasks of the model demo: restart it"
    );
    assert_eq!(ready(), (503, json!(reason)));
    // One that runs tasks may have no room for more, and one that drains asks for none.
    rig.report_of("demo", WorkerStatus::Ready, with(1));
    rig.report_of("demo", WorkerStatus::Draining, with(0));
    assert_eq!(ready(), (200, Value::Null));
    let listed = rig.admin().get("/admin/workers").json();
    let told = listed["workers"].as_array().unwrap().iter();
    let told: Vec<_> = told.filter(|worker| worker["deaf"] == true).map(|w| &w["id"]).collect();
    assert_eq!(told, [&json!(deaf.to_string())], "{listed}");
}

#[test]
fn overview_counts_tasks_and_workers() {
    let rig = Rig::operated();
    let empty = rig.admin().get("/admin/overview").json();
    assert_eq!(empty["queues"], json!([]));
    let worker = rig.report("demo", WorkerStatus::Ready);
    for (prompt, lane) in [("1", "high"), ("2", "normal"), ("3", "batch"), ("4", "batch")] {
        let body = json!({"prompt": prompt, "priority": lane});
        assert_eq!(rig.client().post("/generate", &body).status, 202);
    }
    let later = json!({"prompt": "5", "delay_s": 60});
    assert_eq!(rig.client().post("/generate", &later).status, 202);
    rig.finish(&rig.claim(), &answer("1"));
    rig.claim();

    let now = Timestamp::now().as_millis();
    let mut body = rig.admin().get("/admin/overview").json();
    assert!(now.abs_diff(body["at"].as_u64().unwrap()) < 60_000, "{body}");
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert!(body["queued_bytes"].as_u64().unwrap() > 100, "{body}");
    assert_eq!((&body["dead_letters"], &body["webhooks_pending"]), (&json!(0), &json!(0)));
    let queue = body["queues"][0].as_object_mut().unwrap();
    assert!(queue.remove("service_seconds").unwrap().as_f64().is_none_or(|s| s >= 0.0));
    assert_eq!(
        body["queues"],
        json!([{
            "model": "demo", "paused": false,
            "queued": {"high": 0, "normal": 0, "low": 0, "batch": 2},
            "delayed": 1, "processing": 1, "capacity": 1,
            "completed": 1, "failed": 0, "cancelled": 0,
        }])
    );
    assert_eq!(body["workers"], rig.admin().get("/admin/workers").json()["workers"]);
    let seen = &body["workers"][0];
    assert!(now.abs_diff(seen["last_seen"].as_u64().unwrap()) < 60_000, "{seen}");
    assert!(now.abs_diff(seen["started_at"].as_u64().unwrap()) < 60_000, "{seen}");
    let said = json!({
        "id": worker, "host": "test", "pid": 1, "version": "0", "model": "demo",
        "quantization": "Q4_K_M", "device": "cpu", "status": "ready", "deaf": false, "running": 0,
        "capacity": 1, "finished": 0, "started_at": seen["started_at"], "last_seen": seen["last_seen"],
        "log_lines_lost": 3, "models": [],
    });
    assert_eq!(seen, &said);
}

#[test]
fn a_paused_model_accepts_tasks_and_starts_none() {
    let rig = Rig::operated();
    let waiting = rig.submit("Wait");
    let set = |verb: &str| {
        let reply = rig.admin().post(&format!("/admin/{verb}"), &json!({"model": "demo"}));
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    };
    let paused = || rig.admin().get("/admin/overview").json()["queues"][0]["paused"].clone();
    for _ in 0..2 {
        assert_eq!(set("pause"), json!({"model": "demo", "paused": true}));
        assert_eq!(paused(), json!(true));
    }
    rig.submit("Accepted all the same");
    let claimant = queue::Claimant {
        worker: WorkerId::new(),
        models: vec![protocol::ModelId::new("demo")],
        lease: Duration::from_secs(30),
    };
    let claim = rig.wait(rig.broker.claim(&claimant, Duration::from_millis(300)));
    assert_eq!(claim.unwrap(), None);
    assert_eq!(set("resume"), json!({"model": "demo", "paused": false}));
    assert_eq!(paused(), json!(false));
    assert_eq!(rig.claim().task.id, waiting);
}

#[test]
fn unknown_model_cannot_be_paused() {
    let rig = Rig::operated();
    rig.report("served", WorkerStatus::Ready);
    for verb in ["pause", "resume"] {
        let reply = rig.admin().post(&format!("/admin/{verb}"), &json!({"model": "gpt\n-4"}));
        let (status, detail) = reply.error();
        assert_eq!(status, 404);
        assert!(detail.contains("There are: demo, served") && !detail.contains('\n'), "{detail}");
        let problem = rig.admin().post(&format!("/admin/{verb}"), &json!({})).problem();
        assert_eq!(
            (&problem["loc"], &problem["type"]),
            (&json!(["body", "model"]), &json!("missing"))
        );
    }
    let paused = rig.admin().post("/admin/pause", &json!({"model": "served"}));
    assert_eq!(paused.status, 200, "a worker is enough to be known: {paused:?}");
    let queues = rig.admin().get("/admin/overview").json()["queues"].clone();
    assert_eq!((&queues[0]["model"], &queues[0]["paused"]), (&json!("served"), &json!(true)));
}

#[test]
fn drain_order_reaches_the_worker() {
    let rig = Rig::operated();
    let worker = rig.report("demo", WorkerStatus::Ready);
    let drain = |id: &str| rig.admin().send("POST", &format!("/admin/workers/{id}/drain"), None);
    for _ in 0..2 {
        let reply = drain(&worker.to_string());
        assert_eq!((reply.status, &reply.json()["id"]), (202, &json!(worker)));
    }
    let mut report = rig.wait(rig.broker.workers()).unwrap().remove(0);
    let orders = rig.wait(rig.broker.report_worker(&report, Duration::from_secs(60))).unwrap();
    assert!(orders.drain);
    report.id = WorkerId::new();
    let orders = rig.wait(rig.broker.report_worker(&report, Duration::from_secs(60))).unwrap();
    assert!(!orders.drain, "another run of it was not asked");

    let (status, detail) = drain(&WorkerId::new().to_string()).error();
    assert_eq!(status, 404);
    assert!(detail.contains("GET /admin/workers"), "{detail}");
    let problem = drain("7").problem();
    assert_eq!(problem["loc"], json!(["path", "worker_id"]));
}

#[test]
fn admin_paths_accept_only_their_methods() {
    let rig = Rig::operated();
    for (method, path, allowed) in [
        ("POST", "/admin/overview", "GET, HEAD"),
        ("GET", "/admin/pause", "POST"),
        ("POST", "/admin/dead-letters", "GET, HEAD, DELETE"),
        ("PUT", "/admin/dead-letters/x", "GET, HEAD, DELETE"),
    ] {
        let reply = rig.admin().send(method, path, None);
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allowed)), "{method} {path}");
    }
    assert_eq!(rig.admin().get("/admin").status, 404);
    assert_eq!(rig.admin().send("HEAD", "/admin/overview", None).status, 200);
    let _: Value = rig.admin().get("/admin/overview").json();
}
