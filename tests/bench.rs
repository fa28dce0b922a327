//! Tests of `qwen-queue bench system`, and that a worker keeps within its memory plan.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::models;
use harness::process::binary;
use harness::system::{Plan, System};
use serde_json::{Value, json};

/// Runs `qwen-queue bench system` and returns its figures and its standard output.
fn bench_system(model: &Path, args: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("figures.json");
    let done = Command::new(binary("qwen-queue"))
        .args(["bench", "system", "--model"])
        .arg(model)
        .args(args)
        .arg("--json")
        .arg(&file)
        .output()
        .expect("cannot run qwen-queue");
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{told}{}", String::from_utf8_lossy(&done.stderr));
    let text = std::fs::read_to_string(&file).expect("the figures");
    (serde_json::from_str(&text).expect("JSON"), told)
}

#[test]
fn the_system_is_measured_against_the_bare_engine() {
    let load = ["--clients", "4", "--requests", "8", "--shortest", "16", "--longest", "64"];
    let more = ["--answer", "32", "--rounds", "1"];
    let (figures, told) = bench_system(&models::slow(), &[&load[..], &more].concat());
    for side in ["engine", "system"] {
        let side = &figures[side];
        assert_eq!((&side["requests"], &side["clients"]), (&json!(8), &json!(4)), "{side}");
        assert_eq!(side["completion_tokens"], 8 * 32, "{side}");
        assert!(side["output_per_second"].as_f64() > Some(0.0), "{side}");
        assert!(side["first"]["p50_ms"].as_f64() <= side["whole"]["p50_ms"].as_f64(), "{side}");
    }
    assert_eq!(figures["engine"]["prompt_tokens"], figures["system"]["prompt_tokens"]);
    // Other tests running at the same time change a single round's rates a lot. A system that waits
    // where it should compute (a poll per token, one task at a time) has a far smaller share.
    let share = figures["share"].as_f64().expect("a share");
    assert!(share > 0.3, "the system keeps {share} of the engine's rate");
    assert!(told.contains("% of the engine's rate"), "{told}");
}

#[test]
fn short_prompts_beside_a_long_one_are_measured() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("figures.json");
    let load = ["--beside", "2000", "--beside-clients", "1,3"];
    let none = ["--prompts", "0", "--streams", "0", "--clients", "0"];
    let done = Command::new(binary("qwen-queue"))
        .args(["bench", "engine", "--model"])
        .arg(models::slow())
        .args(load)
        .args(none)
        .arg("--json")
        .arg(&file)
        .output()
        .expect("qwen-queue runs");
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{told}{}", String::from_utf8_lossy(&done.stderr));
    assert!(told.contains("3 clients, 2 + 16 tokens"), "{told}");
    let text = std::fs::read_to_string(&file).expect("the figures");
    let figures: Value = serde_json::from_str(&text).expect("JSON");
    for (place, clients) in [(0, 1), (1, 3)] {
        let beside = &figures["setups"][0]["beside"][place];
        assert_eq!((&beside["long"], &beside["clients"]), (&json!(2000), &json!(clients)));
        assert!(beside["short_prompts"].as_u64() >= Some(clients), "{beside}");
        assert!(beside["first"]["p50_ms"].as_f64() > Some(0.0), "{beside}");
        assert!(beside["alone_seconds"].as_f64() > Some(0.0), "{beside}");
        assert!(beside["beside_seconds"].as_f64() > Some(0.0), "{beside}");
    }
}

/// Run by `cargo nextest run --release -p qwen-queue-tests --run-ignored only`, on an idle machine,
/// after building the binaries in release mode.
#[test]
#[ignore = "measures: needs a release build and a quiet machine"]
fn the_whole_system_keeps_95_percent_of_the_engines_rate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("model.gguf");
    let made = Command::new(binary("qwen-queue"))
        .args(["model", "synth", "--shape", "qwen3-0.6b", "--quant", "q4_k_m", "--output"])
        .arg(&model)
        .status()
        .expect("cannot run qwen-queue");
    assert!(made.success());
    let (figures, told) = bench_system(&model, &["--clients", "16", "--rounds", "3"]);
    assert!(figures["share"].as_f64() >= Some(0.95), "{told}");
}

#[test]
fn a_worker_never_holds_more_memory_than_planned() {
    let (batch, context) = (8, 512);
    let kv_tokens = (batch * context).to_string();
    let batch_text = batch.to_string();
    let model = models::slow();
    let mut system = System::start(&Plan {
        model: model.to_str().expect("UTF-8"),
        workers: 1,
        lease: Duration::from_secs(10),
        settings: &[("MAX_BATCH_SIZE", &batch_text), ("KV_TOKENS", &kv_tokens)],
    });
    let log = system.workers[0].log("app");
    let pages = format!("{} pages of 32 tokens", batch * context / 32);
    assert!(log.contains(&pages), "KV_TOKENS={kv_tokens} does not make {pages}: {log}");
    let planned = log.lines().find_map(|line| line.rsplit_once("at most "));
    let planned: usize = planned
        .and_then(|(_, total)| total.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("the plan is not in the log: {log}"));
    // One and a half times as many as run at once, each as long as its share of the pages.
    let tasks: Vec<String> = (0..batch + batch / 2)
        .map(|number| {
            let prompt = format!("{number:02}").repeat((context - 16) / 2);
            let body = json!({"prompt": prompt, "raw": true, "max_tokens": 16, "temperature": 1.0});
            system.client.submit(&body)
        })
        .collect();
    for task in &tasks {
        let answer = system.client.wait_for_result(task, Duration::from_secs(120));
        assert_eq!(answer.body["status"], "completed", "{answer:?}");
        assert_eq!(answer.body["metrics"]["prompt_tokens"], context - 16, "{answer:?}");
    }
    let pid = system.workers[0].process().pid();
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the worker has ended");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: usize =
        peak.and_then(|kib| kib.split_whitespace().next()?.parse().ok()).expect("a peak in KiB");
    let peak = peak.div_ceil(1024);
    assert!(peak <= planned, "{peak} MiB were held of {planned} MiB planned: {log}");
    assert!(
        peak * 2 >= planned,
        "{peak} MiB of {planned} MiB planned: the plan is too large to mean anything"
    );
}
