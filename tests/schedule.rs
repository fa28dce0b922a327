//! Periodic tasks: each occurrence is submitted once, however many gateways there are and whatever becomes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use harness::cli::{ADMIN_KEY, Cli};
use harness::client::Client;
use harness::process::{Home, KEY, Process};
use harness::redis::RedisServer;
use harness::{free_port, wait_for};
use serde_json::Value;
use sha2::{Digest, Sha256};

const SOON: Duration = Duration::from_secs(30);

/// Returns the id of the tests' key.
fn key_id() -> String {
    let digest = Sha256::digest(KEY.as_bytes());
    let digits: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("env_{digits}")
}

/// Formats a periodic task that is due every second.
fn every_second(name: &str, policy: &str) -> String {
    let key = key_id();
    format!(
        "[[task]]\nname = '{name}'\ncron = '* * * * * *'\nkey = '{key}'\n{policy}\n\
         request = {{ prompt = 'What time is it?', max_tokens = 1 }}\n\n"
    )
}

fn write(home: &Home, text: &str) -> PathBuf {
    let file = home.path().join("schedule.toml");
    fs::write(&file, text).expect("a temporary file");
    file
}

/// Returns the seconds since 1970 of a periodic task's occurrences, each with the number of its tasks.
fn occurrences(client: &Client, cli: &Cli, name: &str) -> BTreeMap<u64, usize> {
    let metadata = format!("schedule={name}");
    let listed = cli.json(&["tasks", "--metadata", &metadata, "--limit", "200", "--json"]);
    let mut found = BTreeMap::new();
    for task in listed["tasks"].as_array().expect("a list") {
        let id = task["task_id"].as_str().expect("an id");
        let status = client.get(&format!("/status/{id}")).body;
        let at = status["metadata"]["occurrence"].as_str().expect("an occurrence").to_owned();
        *found.entry(seconds(&at)).or_default() += 1;
    }
    found
}

/// Returns the seconds of a day and a time such as `2026-11-30T03:00:00Z` since the start of its month.
fn seconds(at: &str) -> u64 {
    let number = |from: usize| at[from..from + 2].parse::<u64>().expect("two digits");
    ((number(8) * 24 + number(11)) * 60 + number(14)) * 60 + number(17)
}

fn shown(cli: &Cli, name: &str) -> Value {
    let schedule = cli.json(&["schedule", "list", "--json"]);
    let tasks = schedule["tasks"].as_array().expect("a list");
    tasks.iter().find(|task| task["name"] == name).expect("the task").clone()
}

/// Asserts that each second from the first to the last has one task, and returns their number.
fn assert_gapless(found: &BTreeMap<u64, usize>) -> usize {
    assert!(found.values().all(|count| *count == 1), "each once: {found:?}");
    let (first, last) = (found.keys().next(), found.keys().next_back());
    let (Some(first), Some(last)) = (first, last) else { return 0 };
    assert_eq!(last - first + 1, found.len() as u64, "none is lost: {found:?}");
    found.len()
}

#[test]
fn two_gateways_submit_each_occurrence_once_even_if_one_is_killed() {
    let redis = RedisServer::start();
    let (url, homes) = (redis.url(), [Home::new(), Home::new()]);
    let ports = [free_port(), free_port()];
    let start = |nth: usize| {
        let file = homes[nth].path().join("schedule.toml");
        let (port, file) = (ports[nth].to_string(), file.to_str().expect("UTF-8").to_owned());
        let settings = [
            ("REDIS_URL", url.as_str()),
            ("PORT", &port),
            ("API_KEYS", KEY),
            ("ADMIN_API_KEY", ADMIN_KEY),
            ("SCHEDULE_FILE", &file),
        ];
        Process::start(&homes[nth], "qwen-queue", &["gateway"], &settings)
    };
    let text = every_second("tick", "missed = 'all'");
    homes.iter().for_each(|home| drop(write(home, &text)));
    let mut gateways = [start(0), start(1)];
    let clients = ports.map(Client::new);
    for (client, gateway) in clients.iter().zip(&mut gateways) {
        client.wait_until_healthy(gateway, false);
    }
    let (client, cli) = (&clients[1], Cli::new(ports[1]));
    let count = |least: usize| {
        wait_for("runs", SOON, || {
            let found = occurrences(client, &cli, "tick");
            (found.len() >= least).then_some(found)
        })
    };
    assert_gapless(&count(3));
    let [first, second] = gateways;
    first.kill_9();
    let killed = assert_gapless(&count(4));
    let mut first = start(0);
    clients[0].wait_until_healthy(&mut first, false);
    assert_gapless(&count(killed + 4));
    assert_eq!(shown(&cli, "tick")["skipped"], 0);

    // A broken file changes nothing; one without the task stops it.
    let log = |home: &Home| home.read("logs/app.log");
    for (home, gateway) in homes.iter().zip([&first, &second]) {
        write(home, &text.replace("cron =", "corn ="));
        gateway.signal("HUP");
        let told = wait_for("the reason", SOON, || {
            Some(log(home)).filter(|log| log.contains("the schedule of before stays"))
        });
        assert!(told.contains("'tick': cron: this field is required"), "{told}");
    }
    let before = count(1).len();
    count(before + 2);
    for (home, gateway) in homes.iter().zip([&first, &second]) {
        write(home, "");
        gateway.signal("HUP");
    }
    wait_for("an empty schedule", SOON, || {
        let told = cli.stdout(&["schedule", "list"]);
        (told == "the schedule has no task").then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    let stopped = count(1).len();
    std::thread::sleep(Duration::from_millis(1_500));
    let last = count(1);
    assert_eq!(last.len(), stopped);
    assert_gapless(&last);
}

#[test]
fn missed_occurrences_follow_their_policy_when_up_starts_again() {
    let home = Home::new();
    let text = every_second("skips", "grace_s = 1")
        + &every_second("once", "missed = 'once'\ngrace_s = 1")
        + &every_second("all", "missed = 'all'\nmax_missed = 1000\ngrace_s = 1");
    let file = write(&home, &text);
    let port = free_port();
    let (port_text, file) = (port.to_string(), file.to_str().expect("UTF-8"));
    let settings = [
        ("PORT", port_text.as_str()),
        ("API_KEYS", KEY),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("SCHEDULE_FILE", file),
    ];
    let (client, cli) = (Client::new(port), Cli::new(port));
    let up = || {
        let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
        client.wait_until_healthy(&mut up, true);
        up
    };
    let first = up();
    wait_for("runs", SOON, || (occurrences(&client, &cli, "all").len() >= 2).then_some(()));
    first.kill_9();
    std::thread::sleep(Duration::from_secs(4));
    let _second = up();
    wait_for("more runs", SOON, || {
        let found = ["skips", "once", "all"].map(|name| shown(&cli, name)["runs"].as_u64());
        let all = occurrences(&client, &cli, "all").len() as u64;
        (all >= 9 && found.iter().all(|runs| *runs >= Some(5))).then_some(())
    });

    assert_gapless(&occurrences(&client, &cli, "all"));
    assert_eq!(shown(&cli, "all")["skipped"], 0);
    for name in ["skips", "once"] {
        let found = occurrences(&client, &cli, name);
        assert!(found.values().all(|count| *count == 1), "{name}: {found:?}");
        let times: Vec<u64> = found.keys().copied().collect();
        let gaps: Vec<u64> =
            times.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0).collect();
        let skipped = shown(&cli, name)["skipped"].as_u64().expect("a number");
        assert!(
            skipped >= 2 && gaps.iter().sum::<u64>() == skipped,
            "{name}: {skipped} of {found:?}"
        );
    }
    let task = shown(&cli, "once")["last"]["task_id"].as_str().expect("a task").to_owned();
    assert_eq!(client.wait_for_result(&task, SOON).body["status"], "completed");
    let run = cli.stdout(&["schedule", "run", "once"]);
    assert_eq!(client.get(&format!("/status/{run}")).body["metadata"]["occurrence"], "manual");
}

#[test]
fn broken_schedule_stops_the_start_and_is_found_by_a_check() {
    let home = Home::new();
    let text = every_second("a", "") + &every_second("b", "missed = 'twice'\ntimezone = 'Nowhere'");
    let file = write(&home, &text);
    let file = file.to_str().expect("UTF-8");
    let settings = [("PORT", "0"), ("API_KEYS", KEY), ("SCHEDULE_FILE", file)];
    let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
    assert!(!up.wait(SOON).success());
    let cli = Cli::new(1);
    let refused = cli.refusal(&["schedule", "check", file]);
    for told in [up.output(), refused] {
        assert!(told.contains("schedule.toml (SCHEDULE_FILE) can't be used"), "{told}");
        assert!(told.contains("line 8: 'b': timezone: unknown time zone 'Nowhere'"), "{told}");
        assert!(
            told.contains("line 8: 'b': missed: must be one of skip, once, all, got 'twice'"),
            "{told}"
        );
    }
    fs::write(file, every_second("a", "")).expect("a temporary file");
    assert!(cli.stdout(&["schedule", "check", file]).contains("1 periodic task, all right"));
}
