//! Tests of the operators' commands on real systems.

use std::time::Duration;

use harness::cli::{ADMIN_KEY, Cli};
use harness::client::Client;
use harness::process::{Home, KEY, Process};
use harness::system::{Plan, System};
use harness::terminal::Terminal;
use harness::{free_port, models};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(90);
const LEASE: Duration = Duration::from_secs(3);

/// Starts everything in one process, with the demo model.
fn up(home: &Home) -> (Process, Client, Cli) {
    let port = free_port();
    let port_text = port.to_string();
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY), ("ADMIN_API_KEY", ADMIN_KEY)];
    let mut process = Process::start(home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut process, true);
    (process, client, Cli::new(port))
}

/// Starts gateway and workers with a Redis, and a model slow enough that tests can interrupt an
/// answer.
fn slow(workers: usize, settings: &[(&str, &str)]) -> (System, Cli) {
    let model = models::slow();
    let model = model.to_str().expect("UTF-8");
    let settings = [settings, &[("ADMIN_API_KEY", ADMIN_KEY), ("MAX_BATCH_SIZE", "1")]].concat();
    let system = System::start(&Plan { model, workers, lease: LEASE, settings: &settings });
    let cli = Cli::new(system.client.port());
    (system, cli)
}

fn long(max_tokens: u32) -> Value {
    json!({"prompt": "count", "raw": true, "max_tokens": max_tokens, "temperature": 0.0})
}

#[test]
fn a_paused_model_keeps_its_tasks_until_it_is_resumed() {
    let home = Home::new();
    let (_up, client, cli) = up(&home);
    let before = client.ask("What is a lease?");
    client.wait_for_state(&before, "completed");

    assert!(cli.stdout(&["pause", "demo"]).contains("demo is paused"));
    let kept = client.ask("What is a lane?");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(client.status(&kept), "queued");
    let queues = cli.stdout(&["queues"]);
    let row: Vec<_> = queues.lines().nth(1).expect("a queue").split_whitespace().collect();
    assert_eq!(row[..6], ["demo", "paused", "0", "1", "0", "0"], "{queues}");
    assert_eq!(cli.json(&["queues", "--json"])["queues"][0]["paused"], true);

    assert!(cli.stdout(&["resume", "demo"]).contains("goes on"));
    let result = client.wait_for_result(&kept, SOON);
    assert_eq!(result.body["status"], "completed", "{result:?}");
    let queue = &cli.json(&["top", "--json"])["queues"][0];
    assert_eq!((&queue["paused"], &queue["completed"]), (&json!(false), &json!(2)), "{queue}");
}

#[test]
fn tasks_are_listed_and_queued_ones_are_cancelled_by_a_filter() {
    let home = Home::new();
    let (_up, client, cli) = up(&home);
    let done = client.ask("What is a lease?");
    client.wait_for_state(&done, "completed");
    cli.stdout(&["pause", "demo"]);
    let waiting = [client.ask("What is a lane?"), client.ask("What is a task?")];

    let list = cli.stdout(&["tasks"]);
    let ids: Vec<_> =
        list.lines().skip(1).filter_map(|row| row.split_whitespace().next()).collect();
    assert_eq!(ids, [&waiting[1], &waiting[0], &done], "{list}");
    let completed = cli.json(&["tasks", "--state", "completed", "--newer-than", "1h", "--json"]);
    assert_eq!(completed["tasks"][0]["task_id"], *done, "{completed}");
    assert_eq!(completed["tasks"].as_array().map(Vec::len), Some(1), "{completed}");
    assert!(cli.refusal(&["tasks", "--state", "running"]).contains("queued, delayed"));

    assert!(cli.refusal(&["tasks", "cancel"]).contains("--all"));
    let counted = cli.stdout(&["tasks", "cancel", "--model", "demo", "--dry-run"]);
    assert_eq!(counted, format!("2 queued tasks\n{}\n{}", waiting[1], waiting[0]));
    let unconfirmed = cli.refusal(&["tasks", "cancel", "--model", "demo"]);
    assert!(unconfirmed.contains("--yes"), "without a terminal: {unconfirmed}");
    assert_eq!(client.status(&waiting[0]), "queued");
    let told = cli.stdout(&["tasks", "cancel", "--model", "demo", "--yes"]);
    assert_eq!(told, "2 tasks cancelled");
    for task in &waiting {
        assert_eq!(client.status(task), "cancelled");
    }
    assert_eq!(client.status(&done), "completed");
    assert_eq!(cli.stdout(&["tasks", "--state", "queued,delayed,processing"]), "no task matches");
}

#[test]
fn a_snapshot_shows_the_queue_and_the_worker() {
    let home = Home::new();
    let (up, client, cli) = up(&home);
    client.wait_for_state(&client.ask("What is a lease?"), "completed");
    // There is no terminal here, so both print a snapshot.
    for args in [&["top"][..], &["top", "--once"]] {
        let shown = cli.stdout(args);
        assert!(shown.contains("\ndemo   idle"), "{shown}");
        assert!(shown.contains(&format!(":{}", up.pid())) && shown.contains("ready"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
    let workers = cli.json(&["workers", "--json"]);
    assert!(workers.to_string().contains(&format!("\"pid\":{}", up.pid())), "{workers}");

    // MAX_BATCH_SIZE is not set: the engine chose, and everything agrees with it.
    let log = home.read("logs/app.log");
    assert!(log.contains("16 sequences at once (auto: 16 on the CPU)"), "{log}");
    assert_eq!(workers["workers"][0]["capacity"], 16, "{workers}");
    assert_eq!(workers["workers"][0]["models"][0]["capacity"], 16, "{workers}");
    assert_eq!(cli.json(&["queues", "--json"])["queues"][0]["capacity"], 16);
    assert!(cli.stdout(&["top"]).contains("0/16"));
}

#[test]
fn operators_commands_need_the_operators_key() {
    let home = Home::new();
    let (_up, _, cli) = up(&home);
    for args in [&["top"][..], &["queues"], &["pause", "demo"], &["dead", "list"]] {
        let refused = cli.refusal(&[args, &["--admin-key", KEY]].concat());
        assert!(refused.contains("403"), "{args:?}: {refused}");
        let refused = cli.refusal(&[args, &["--admin-key", "a-key-of-nobody"]].concat());
        assert!(refused.contains("401"), "{args:?}: {refused}");
        let away = cli.refusal(&[args, &["--url", "http://127.0.0.1:1"]].concat());
        assert!(away.contains("no gateway answers"), "{args:?}: {away}");
    }
    assert!(cli.refusal(&["drain", "nobody"]).contains("no worker's id begins"));
    let nobody = "0192f0c1-2345-7abc-8def-0123456789ab";
    assert!(cli.refusal(&["dead", "show", nobody]).contains("404"));
    assert!(
        cli.refusal(&["dead", "purge", "--all"]).contains("--yes"),
        "without a terminal there can be no confirmation"
    );
}

#[test]
fn top_in_a_terminal_pauses_a_model_and_restores_the_terminal() {
    let home = Home::new();
    let (_up, client, cli) = up(&home);
    client.wait_for_state(&client.ask("What is a lease?"), "completed");
    let mut top = Terminal::start(&cli, "top --interval 0.2");
    top.wait_for_text("demo");
    top.press("p");
    top.wait_for_text("Pause");
    top.press("y");
    top.wait_for_text("paused");
    assert_eq!(cli.json(&["queues", "--json"])["queues"][0]["paused"], true);
    top.press("q");
    let ended = top.wait_for_end();
    assert!(ended.success(), "{ended}");
}

#[test]
fn top_survives_its_gateway_and_restores_the_terminal_on_a_signal() {
    let (mut system, cli) = slow(1, &[]);
    let top = Terminal::start(&cli, "top --interval 0.2");
    top.wait_for_text("ready");
    system.gateway.kill_9();
    top.wait_for_text("AWAY");
    system.gateway.start();
    top.wait_for_text("watched");
    top.signal("TERM");
    let ended = top.wait_for_end();
    assert_eq!(ended.code(), Some(128 + 15), "{ended}");
}

#[test]
fn top_ends_when_its_terminal_closes() {
    let home = Home::new();
    let (_up, _client, cli) = up(&home);
    let top = Terminal::start(&cli, "top --interval 0.2");
    top.wait_for_text("demo");
    top.close_and_wait();
}

#[test]
fn a_drained_worker_exits_with_success_and_nothing_is_lost() {
    let (mut system, cli) = slow(2, &[]);
    let tasks: Vec<String> = (0..6).map(|_| system.client.submit(&long(60))).collect();
    let holder = system.holder(&tasks[0], 1, SOON);
    let pid = system.workers[holder].process().pid();
    let overview = cli.json(&["top", "--json"]);
    let workers = overview["workers"].as_array().expect("workers");
    assert_eq!(workers.len(), 2, "{overview}");
    let id = |worker: &Value| worker["id"].as_str().expect("an id").to_owned();
    let drained =
        workers.iter().find(|worker| worker["pid"] == pid).map(id).expect("it does not report");
    let other =
        workers.iter().find(|worker| worker["pid"] != pid).map(id).expect("it does not report");
    let common = drained.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();

    let told = cli.stdout(&["drain", &drained[..=common]]);
    assert!(told.contains(&drained), "{told}");
    let status = system.workers[holder].process().wait(LONG);
    assert!(status.success(), "{status}: {}", system.workers[holder].process().output());
    for task in &tasks {
        let result = system.client.wait_for_result(task, LONG);
        assert_eq!(result.body["status"], "completed", "{result:?}");
    }
    let left = cli.stdout(&["workers"]);
    assert!(!left.contains(&drained) && left.contains(&other), "{left}");
}

#[test]
fn a_dead_letter_is_listed_shown_replayed_and_purged() {
    let (mut system, cli) = slow(1, &[("MAX_ATTEMPTS", "1")]);
    assert_eq!(cli.stdout(&["dead", "list"]), "no dead letters");
    let poison = lose_task(&mut system);
    let list = cli.stdout(&["dead", "list"]);
    assert!(list.lines().nth(1).is_some_and(|row| row.starts_with(&poison)), "{list}");
    assert!(list.contains("worker_lost"), "{list}");
    let shown = cli.stdout(&["dead", "show", &poison]);
    assert!(shown.contains(&poison) && shown.contains("attempt 1 on worker"), "{shown}");
    assert!(cli.stdout(&["top", "--once"]).contains(" 1 dead letter,"));

    let again = cli.stdout(&["dead", "replay", &poison]);
    assert_ne!(again, poison);
    system.client.wait_for_state(&again, "processing");
    assert_eq!(cli.stdout(&["dead", "list"]), "no dead letters");
    assert_eq!(system.client.status(&poison), "failed", "the old task keeps its outcome");
    cli.stdout(&["cancel", &again]);
    system.client.wait_for_state(&again, "cancelled");

    let lost = [lose_task(&mut system), lose_task(&mut system)];
    cli.stdout(&["dead", "purge", "--yes", &lost[1]]);
    let left = &cli.json(&["dead", "list", "--json"])["dead_letters"];
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(left[0]["task_id"], *lost[0]);
    let replayed = cli.stdout(&["dead", "replay", "--all"]);
    assert!(replayed.starts_with(&format!("{} again as ", lost[0])), "{replayed}");
    let again = replayed.rsplit(' ').next().expect("an id");
    system.client.wait_for_state(again, "processing");
    assert_eq!(cli.stdout(&["dead", "list"]), "no dead letters");
}

/// Returns a task whose worker was killed at its only attempt.
fn lose_task(system: &mut System) -> String {
    let task = system.client.submit(&long(2000));
    system.holder(&task, 1, SOON);
    system.workers[0].kill_9();
    let result = system.client.wait_for_result(&task, LONG);
    assert_eq!(result.body["error_type"], "worker_lost", "{result:?}");
    system.workers[0].start();
    task
}
