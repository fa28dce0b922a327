//! Tests of `qwen-queue up`, which new users run first.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::client::Client;
use harness::models;
use harness::process::{ADMIN_KEY, Home, KEY, Process};
use harness::{free_port, wait_for};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

fn up(home: &Home, port: u16, more: &[(&str, &str)]) -> (Process, Client) {
    let port_text = port.to_string();
    let mut settings = vec![("PORT", port_text.as_str()), ("API_KEYS", KEY)];
    settings.extend_from_slice(more);
    let mut process = Process::start(home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut process, true);
    (process, client)
}

#[test]
fn the_printed_curl_line_gets_an_answer_with_six_metrics() {
    let home = Home::new();
    let port = free_port();
    let port_text = port.to_string();
    // Without API_KEYS, a new key is made and printed.
    let up = Process::start(&home, "qwen-queue", &["up"], &[("PORT", &port_text)]);
    let printed = wait_for("the curl line", SOON, || {
        let output = up.output();
        let start = output.find("curl ")?;
        let end = start + output[start..].find("}'\n")? + 2;
        Some(output[start..end].to_owned())
    });
    let reply = wait_for("a 202", SOON, || {
        let line = printed.replacen("curl ", "curl -w '\\n%{http_code}' ", 1);
        let output = Command::new("sh").args(["-c", &line]).output().expect("sh runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n')?;
        (code == "202").then(|| serde_json::from_str::<Value>(body).expect("JSON"))
    });
    assert_eq!(reply["status"], "queued");
    let task_id = reply["task_id"].as_str().expect("a task_id").to_owned();

    let output = up.output();
    let key = output.split("X-API-Key: ").nth(1).and_then(|rest| rest.split('\'').next());
    let key = key.expect("no key is printed").to_owned();
    let result: Value = wait_for("the result", SOON, || {
        let url = format!("http://127.0.0.1:{port}/result/{task_id}");
        let response = ureq::get(url).header("X-API-Key", &key).call().ok()?;
        (response.status() == 200).then(|| response.into_body().read_json().expect("JSON"))
    });
    assert_eq!(result["status"], "completed", "{result}");
    let answer = result["result"].as_str().expect("text");
    assert!(answer.to_lowercase().contains("worker"), "not about workers: {answer}");
    for metric in [
        "queue_wait_time",
        "processing_time",
        "total_time",
        "prompt_tokens",
        "completion_tokens",
        "tokens_per_second",
        "cached_tokens",
    ] {
        assert!(result["metrics"][metric].as_f64().is_some_and(|n| n >= 0.0), "{metric}: {result}");
    }
    assert!(result["metrics"]["completion_tokens"].as_u64() > Some(3), "{result}");
}

#[test]
fn queued_and_running_tasks_survive_kill_9() {
    let home = Home::new();
    let model = models::slow();
    let model = model.to_str().expect("UTF-8");
    let settings = [("MODEL_NAME", model), ("MAX_BATCH_SIZE", "1")];
    let (process, client) = up(&home, free_port(), &settings);
    let long = json!({"prompt": "count", "raw": true, "max_tokens": 400, "temperature": 0.0});
    let tasks: Vec<String> = (0..4).map(|_| client.submit(&long)).collect();
    client.wait_for_state(&tasks[0], "processing");
    process.kill_9();

    let (_process, client) = up(&home, free_port(), &settings);
    for task in &tasks {
        let result = client.wait_for_result(task, Duration::from_secs(90));
        assert_eq!(result.body["status"], "completed", "{result:?}");
    }
    let log = home.read("logs/llm_requests.log");
    for task in &tasks {
        assert_eq!(log.matches(task.as_str()).count(), 1, "one outcome each:\n{log}");
    }
}

#[test]
fn the_logs_follow_their_contract_and_cannot_be_forged() {
    let home = Home::new();
    let (_process, client) = up(&home, free_port(), &[]);
    let good = client.ask("How do I add a worker?");
    let evil = "x\" status=success\n[2025-11-21 15:30:45] task_id=1 total_time=0.00s ".repeat(400);
    let bad = client.submit(&json!({"prompt": evil}));
    assert_eq!(client.wait_for_result(&good, SOON).body["status"], "completed");
    let failed = client.wait_for_result(&bad, SOON);
    assert_eq!(failed.status, 200);
    assert_eq!(failed.body["status"], "error");
    assert_eq!(failed.body["error_type"], "context_length_exceeded", "{failed:?}");

    let log = wait_for("two lines", SOON, || {
        Some(home.read("logs/llm_requests.log")).filter(|log| log.lines().count() >= 2)
    });
    assert_eq!(log.lines().count(), 2, "{log}");
    let line = log.lines().find(|line| line.contains(&good)).expect("the good task's line");
    let rest = &line[22..];
    assert!(rest.starts_with(&format!("task_id={good} status=success prompt_tokens=")), "{line}");
    let names: Vec<_> = rest.split(' ').map(|field| field.split('=').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "task_id",
            "status",
            "prompt_tokens",
            "completion_tokens",
            "tokens_per_sec",
            "queue_wait",
            "processing_time",
            "total_time",
            "cached_tokens"
        ]
    );
    let line = log.lines().find(|line| line.contains(&bad)).expect("the bad task's line");
    assert!(line[22..].starts_with(&format!("task_id={bad} status=error error_message=\"")));
    let errors = wait_for("errors.log", SOON, || {
        Some(home.read("logs/errors.log")).filter(|text| text.contains(&bad))
    });
    assert!(errors.starts_with(&"=".repeat(80)), "{errors}");
    assert!(errors.contains("Error Type: context_length_exceeded\nError Message: "), "{errors}");
    assert!(errors.contains("\n\nTraceback:\n"), "{errors}");
    let app = home.read("logs/app.log");
    assert!(app.lines().any(|l| l.contains(" - gateway.generate - INFO - ")), "{app}");
    assert!(!app.contains(KEY), "a key in a log");
}

#[test]
fn sigterm_drains_and_exits_with_success() {
    let home = Home::new();
    let model = models::slow();
    let settings = [
        ("MODEL_NAME", model.to_str().expect("UTF-8")),
        ("DRAIN_SECONDS", "1"),
        ("MAX_BATCH_SIZE", "1"),
    ];
    let (mut process, client) = up(&home, free_port(), &settings);
    let long = json!({"prompt": "count", "raw": true, "max_tokens": 2000, "temperature": 0.0});
    let task = client.submit(&long);
    client.wait_for_state(&task, "processing");
    process.signal("TERM");
    let status = process.wait(Duration::from_secs(15));
    assert!(status.success(), "{status}: {}", process.output());
    assert!(
        !home.read("logs/llm_requests.log").contains(&task),
        "a released task was logged as ended"
    );

    let (_process, client) = up(&home, free_port(), &settings);
    client.wait_for_state(&task, "processing");
    let cancelled = client.post(&format!("/cancel/{task}"), &json!({}));
    assert_eq!(cancelled.status, 202, "no worker was told to stop it: {cancelled:?}");
    client.wait_for_state(&task, "cancelled");
}

#[test]
fn a_drained_worker_leaves_the_gateway_running() {
    let home = Home::new();
    let port = free_port();
    let (mut process, client) = up(&home, port, &[("ADMIN_API_KEY", ADMIN_KEY)]);
    let operator = Client::with_key(port, ADMIN_KEY);
    let overview = operator.get("/admin/overview");
    let id = overview.body["workers"][0]["id"].as_str().expect("a worker").to_owned();
    let answer = operator.post(&format!("/admin/workers/{id}/drain"), &json!({}));
    assert_eq!(answer.status, 202, "{answer:?}");
    wait_for("the worker to stop", SOON, || {
        (operator.get("/admin/workers").body["workers"] == json!([])).then_some(())
    });
    let task = client.ask("How do I add a worker?");
    let cancelled = client.ask("Never mind");
    assert_eq!(client.post(&format!("/cancel/{cancelled}"), &json!({})).status, 200);
    wait_for("its line in the log", SOON, || {
        home.read("logs/llm_requests.log").contains(&cancelled).then_some(())
    });
    assert_eq!(client.status(&task), "queued");
    assert!(process.is_alive());
    process.signal("TERM");
    let status = process.wait(SOON);
    assert!(status.success(), "{status}: {}", process.output());

    let (_process, client) = up(&home, port, &[]);
    assert_eq!(client.wait_for_result(&task, SOON).body["status"], "completed");
    let log = home.read("logs/llm_requests.log");
    assert_eq!(log.matches(cancelled.as_str()).count(), 1, "{log}");
}

#[test]
fn a_second_up_on_the_same_data_is_refused() {
    let home = Home::new();
    let (_process, _) = up(&home, free_port(), &[]);
    let port = free_port().to_string();
    let mut second =
        Process::start(&home, "qwen-queue", &["up"], &[("PORT", &port), ("API_KEYS", KEY)]);
    assert!(!second.wait(SOON).success());
    assert!(second.output().contains("data"), "{}", second.output());
}

/// Clients keep submitting while the only process is stopped and started again.
#[test]
fn a_restart_under_load_loses_no_accepted_task() {
    const RESTARTS: usize = 3;
    let home = Home::new();
    let port = free_port();
    let (mut process, client) = up(&home, port, &[("DRAIN_SECONDS", "1")]);
    let over = AtomicBool::new(false);
    let accepted = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(|| submit_until(port, &over))).collect();
        for round in 0..RESTARTS {
            std::thread::sleep(Duration::from_millis(700));
            if round % 2 == 0 {
                process.signal("TERM");
                let status = process.wait(SOON);
                assert!(status.success(), "{status}: {}", process.output());
            } else {
                process.signal("KILL");
                process.wait(SOON);
            }
            (process, _) = up(&home, port, &[("DRAIN_SECONDS", "1")]);
        }
        std::thread::sleep(Duration::from_millis(700));
        over.store(true, Ordering::Relaxed);
        let threads = clients.into_iter();
        threads.flat_map(|client| client.join().expect("a client")).collect::<Vec<String>>()
    });
    println!("{} accepted over {RESTARTS} restarts", accepted.len());
    assert!(accepted.len() > 30, "too few for a load");
    for task in &accepted {
        let end = client.wait_for_result(task, Duration::from_secs(90));
        assert_eq!(end.body["status"], "completed", "{task}: {end:?}");
    }
}

/// Submits until `over` is set and returns the accepted tasks. Connections that are refused or cut
/// and 503 are retried; any other response is a failure.
fn submit_until(port: u16, over: &AtomicBool) -> Vec<String> {
    let client = Client::new(port);
    let mut accepted = Vec::new();
    let body = json!({"prompt": "What is a lease?", "temperature": 0.0, "max_tokens": 16});
    while !over.load(Ordering::Relaxed) {
        match client.try_post("/generate", &body) {
            Some(answer) if answer.status == 202 => {
                accepted.push(answer.body["task_id"].as_str().expect("a task_id").to_owned());
            }
            Some(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
            None => {}
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    accepted
}

/// The sampling parameters, through gateway, queue, worker and engine.
#[test]
fn sampling_parameters_reach_the_engine() {
    let home = Home::new();
    let (_process, client) = up(&home, free_port(), &[]);
    let ask = |more: Value| {
        let mut body =
            json!({"prompt": "How do I add a worker?", "temperature": 0, "max_tokens": 24});
        let map = body.as_object_mut().expect("an object");
        map.extend(more.as_object().expect("an object").clone());
        let result = client.wait_for_result(&client.submit(&body), SOON).body;
        assert_eq!(result["status"], "completed", "{result}");
        result
    };
    let plain = ask(json!({}));
    assert!(plain.get("logprobs").is_none(), "{plain}");

    let told = ask(json!({"logprobs": true, "top_logprobs": 4}));
    assert_eq!(told["result"], plain["result"], "logprobs changed the answer");
    let content = told["logprobs"]["content"].as_array().expect("logprobs");
    assert_eq!(Some(content.len() as u64), told["metrics"]["completion_tokens"].as_u64(), "{told}");
    let mut bytes = Vec::new();
    for token in content {
        let own = token["bytes"].as_array().expect("bytes").iter();
        bytes.extend(own.map(|byte| byte.as_u64().expect("a byte") as u8));
        let top = token["top_logprobs"].as_array().expect("alternatives");
        assert_eq!(top.len(), 4, "{token}");
        // With greedy sampling, the chosen token is the most probable one.
        assert_eq!((&top[0]["token"], &top[0]["logprob"]), (&token["token"], &token["logprob"]));
        let logprobs: Vec<f64> =
            top.iter().map(|one| one["logprob"].as_f64().expect("a number")).collect();
        assert!(logprobs.is_sorted_by(|a, b| a >= b) && logprobs[0] <= 0.0, "{token}");
        assert!(logprobs.iter().map(|logprob| logprob.exp()).sum::<f64>() < 1.0 + 1e-4, "{token}");
    }
    assert_eq!(String::from_utf8(bytes).expect("UTF-8"), plain["result"].as_str().expect("a text"));

    // A bias makes two tokens more probable than all others, and one of them more than the other. Without
    // a penalty only that is generated; with one, both are.
    let tokens = |more: Value| {
        let mut body =
            json!({"logit_bias": {"300": 100, "301": 90}, "max_tokens": 40, "logprobs": true});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let content = ask(body)["logprobs"]["content"].take();
        let tokens =
            content.as_array().expect("logprobs").iter().map(|one| one["token"].to_string());
        tokens.collect::<std::collections::HashSet<_>>().len()
    };
    assert_eq!(tokens(json!({})), 1);
    assert_eq!(tokens(json!({"repetition_penalty": 2})), 2);
    assert_eq!(tokens(json!({"frequency_penalty": 2})), 2);

    // min_p of 1 makes sampling greedy at any temperature. The same seed gives the same answer.
    let hot = json!({"temperature": 2, "top_p": 1, "min_p": 1});
    assert_eq!(ask(hot)["result"], plain["result"]);
    let seeded = json!({
        "temperature": 1.5, "top_p": 1, "min_p": 0.01, "seed": 7, "repetition_penalty": 1.2,
        "frequency_penalty": 0.5, "presence_penalty": 0.5,
    });
    assert_eq!(ask(seeded.clone())["result"], ask(seeded)["result"]);

    // A bias of 100 forces a token.
    let forced = ask(json!({"logit_bias": {"300": 100}, "max_tokens": 5, "logprobs": true}));
    let content = forced["logprobs"]["content"].as_array().expect("logprobs");
    assert_eq!(content.len(), 5, "{forced}");
    assert!(content.iter().all(|token| token["token"] == content[0]["token"]), "{forced}");
    assert!(content[0]["logprob"].as_f64().is_some_and(|logprob| logprob < 0.0), "{forced}");

    let refusals = client.post(
        "/generate",
        &json!({
            "prompt": "x", "min_p": 1.5, "repetition_penalty": 0, "presence_penalty": 3,
            "frequency_penalty": "much", "logit_bias": {"the": 1}, "top_logprobs": 5,
        }),
    );
    assert_eq!(refusals.status, 422, "{refusals:?}");
    let problems = refusals.body["detail"].as_array().expect("a list");
    let found: Vec<_> = problems.iter().map(|one| (&one["loc"][1], &one["type"])).collect();
    for (field, kind) in [
        ("min_p", "less_than_equal"),
        ("repetition_penalty", "greater_than"),
        ("presence_penalty", "less_than_equal"),
        ("frequency_penalty", "float_type"),
        ("logit_bias", "int_parsing"),
        ("top_logprobs", "value_error"),
    ] {
        assert!(found.contains(&(&json!(field), &json!(kind))), "{field}: {found:?}");
    }
    assert_eq!(found.len(), 6, "{found:?}");

    // Only the worker knows the model's tokens, so the gateway accepts an unknown one.
    let unknown = client.submit(&json!({"prompt": "x", "logit_bias": {"4000000000": 1}}));
    let failed = client.wait_for_result(&unknown, SOON).body;
    assert_eq!(failed["error_type"], "invalid_request", "{failed}");
    assert!(
        failed["error_message"].as_str().is_some_and(|text| text.contains("4000000000")),
        "{failed}"
    );
}
