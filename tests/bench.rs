//! Tests of `qwen-queue bench system`, `engine` and `load`, and that a worker keeps within its memory plan.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::cli::Cli;
use harness::client::Client;
use harness::process::{Home, KEY, Process, binary};
use harness::system::{Plan, System};
use harness::{free_port, models};
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

#[test]
fn a_deployment_is_loaded_and_judged_by_goals() {
    let (home, port) = (Home::new(), free_port());
    let port_text = port.to_string();
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("MODEL_NAME", "demo")];
    let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
    Client::new(port).wait_until_healthy(&mut up, true);
    let (cli, folder) = (Cli::new(port), tempfile::tempdir().expect("a temporary folder"));
    let (json_file, plot) = (folder.path().join("load.json"), folder.path().join("load.svg"));
    let files = ["--json", json_file.to_str().unwrap(), "--plot", plot.to_str().unwrap()];
    let load = |args: &[&str]| {
        let done = cli.run(&[&["bench", "load", "--max-tokens", "4"], args, &files].concat());
        let figures = std::fs::read_to_string(&json_file).expect("the figures");
        let figures: Value = serde_json::from_str(&figures).expect("JSON");
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.success(), figures, told(&done.stdout), told(&done.stderr))
    };

    let goals = ["--goal", "errors<1%", "--goal", "total.p99<60s"];
    let (is_met, figures, told, errors) = load(
        &[&["--clients", "3", "--seconds", "1", "--mix", "short=3,long=1"], &goals[..]].concat(),
    );
    assert!(is_met && told.contains("met: errors<1%"), "{told}{errors}");
    assert!(figures["requests"].as_u64() >= Some(3), "{figures}");
    assert_eq!((&figures["completed"], &figures["errors"]), (&figures["requests"], &json!({})));
    let of = |time: &str, share: &str| figures["times"][time][share].as_f64().expect("a time");
    assert!(of("wait", "p50") <= of("total", "p50") && of("total", "p50") <= of("total", "max"));
    assert!(std::fs::read_to_string(&plot).expect("the plot").contains("seconds by percentile"));

    // An open loop sends at its rate, and a missed goal is the exit code.
    let (is_met, figures, told, errors) =
        load(&["--rate", "20", "--ramp", "1", "--seconds", "2", "--goal", "total.max<0ms"]);
    assert!(
        !is_met && told.contains("MISSED") && errors.contains("1 of 1 goals"),
        "{told}{errors}"
    );
    assert_eq!((&figures["requests"], &figures["goals"][0]["met"]), (&json!(40), &json!(false)));

    let (is_met, _, _, errors) = load(&["--clients", "1", "--seconds", "0.2", "--model", "none"]);
    assert!(!is_met && errors.contains("no task ended"), "{errors}");
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
