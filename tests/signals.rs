//! SIGHUP: reloads a service, stops one whose terminal was closed.

use std::fs;
use std::time::Duration;

use harness::client::Client;
use harness::process::{ADMIN_KEY, Home, KEY, Process};
use harness::redis::RedisServer;
use harness::terminal::Terminal;
use harness::{free_port, models, wait_for};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);
const NEW_KEY: &str = "another-key-0123456789";

/// A process and the file that its settings stand in.
struct Service {
    process: Process,
    home: Home,
    file: &'static str,
    port: u16,
    _redis: Option<RedisServer>,
}

impl Service {
    fn start(binary: &str, args: &[&str], file: &'static str, on_redis: bool) -> Self {
        let (home, port) = (Home::new(), free_port());
        let redis = on_redis.then(RedisServer::start);
        let (url, port_text) = (redis.as_ref().map(RedisServer::url), port.to_string());
        let mut settings = vec![("PORT", port_text.as_str())];
        settings.extend(url.as_deref().map(|url| ("REDIS_URL", url)));
        write(&home, file, &[KEY], Some(ADMIN_KEY), "info");
        let mut process = Process::start(&home, binary, args, &settings);
        Client::new(port).wait_until_healthy(&mut process, false);
        Self { process, home, file, port, _redis: redis }
    }

    fn write(&self, keys: &[&str], admin: Option<&str>, level: &str) {
        write(&self.home, self.file, keys, admin, level);
    }

    /// Reloads, and waits for the text in `app.log`.
    fn reload(&mut self, says: &str) {
        let before = self.home.read("logs/app.log").len();
        self.process.signal("HUP");
        wait_for(&format!("{says:?} in app.log"), SOON, || {
            self.home.read("logs/app.log")[before..].contains(says).then_some(())
        });
        assert!(self.process.is_alive(), "{}", self.process.output());
    }

    fn status(&self, key: &str, path: &str) -> u16 {
        Client::with_key(self.port, key).get(path).status
    }

    fn keys(&self) -> [u16; 4] {
        [
            self.status(KEY, "/webhook-secret"),
            self.status(NEW_KEY, "/webhook-secret"),
            self.status(ADMIN_KEY, "/admin/workers"),
            self.status(KEY, "/admin/workers"),
        ]
    }
}

/// Writes settings as `.env` or as YAML.
fn write(home: &Home, file: &str, keys: &[&str], admin: Option<&str>, level: &str) {
    let admin = admin.unwrap_or_default();
    let text = if file == ".env" {
        format!("API_KEYS={}\nADMIN_API_KEY={admin}\nLOG_LEVEL={level}\n", keys.join(","))
    } else {
        format!("api_keys: [{}]\nadmin_api_key: \"{admin}\"\nlog_level: {level}\n", keys.join(", "))
    };
    fs::write(home.path().join(file), text).expect("a file");
}

#[test]
fn reload_applies_keys_and_log_level_and_refuses_invalid_values() {
    for (binary, args, file, on_redis) in [
        ("qwen-queue", &["up"][..], ".env", false),
        ("qwen-queue-gateway", &[][..], "qwen-queue.yaml", true),
        ("qwen-queue", &["gateway", "--config", "own.yaml"][..], "own.yaml", true),
    ] {
        let mut service = Service::start(binary, args, file, on_redis);
        assert_eq!(service.keys(), [200, 401, 200, 403], "{file}");
        let task = Client::new(service.port).ask("What is a lease?");

        service.write(&[KEY, NEW_KEY], Some(ADMIN_KEY), "info");
        service.reload("changed: API_KEYS (1 added, 0 removed)");
        wait_for("the new key", SOON, || (service.keys() == [200, 200, 200, 403]).then_some(()));

        // Each of these is refused as a whole, with its reason.
        for (keys, admin, level, says) in [
            (&["short"][..], None, "info", "key 1 has 5 characters"),
            (&[NEW_KEY][..], Some(NEW_KEY), "debug", "is one of API_KEYS"),
            (&[NEW_KEY][..], None, "loud", "'loud'"),
        ] {
            service.write(keys, admin, level);
            service.reload(says);
            assert_eq!(service.keys(), [200, 200, 200, 403], "{file}: {says}");
        }
        fs::write(service.home.path().join(file), "{").expect("a file");
        service.reload("nothing is changed, the settings of before stay");
        assert_eq!(service.keys(), [200, 200, 200, 403], "{file}");

        let debug = |service: &Service| service.home.read("logs/app.log").contains(" - DEBUG - ");
        assert!(!debug(&service));
        service.write(&[NEW_KEY], None, "debug");
        service.reload(
            "API_KEYS (0 added, 1 removed), ADMIN_API_KEY (removed), LOG_LEVEL (info to debug)",
        );
        wait_for("the old key's end", SOON, || {
            (service.keys() == [401, 200, 403, 403]).then_some(())
        });
        wait_for("lines of the level debug", SOON, || debug(&service).then_some(()));

        // Tasks stay with their key.
        assert_eq!(service.status(NEW_KEY, &format!("/status/{task}")), 404);
        service.write(&[KEY], None, "info");
        service.reload("API_KEYS (1 added, 1 removed)");
        wait_for("the old key", SOON, || {
            (service.status(KEY, &format!("/status/{task}")) == 200).then_some(())
        });
        let said = service.home.read("logs/app.log") + &service.process.output();
        for secret in [KEY, NEW_KEY, ADMIN_KEY] {
            assert!(!said.contains(secret), "{file}: a key is shown:\n{said}");
        }
    }
}

#[test]
fn settings_that_need_a_restart_are_logged_at_reload() {
    let (home, port) = (Home::new(), free_port());
    let port_text = port.to_string();
    let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY)];
    let mut process = Process::start(&home, "qwen-queue", &["up"], &settings);
    Client::new(port).wait_until_healthy(&mut process, false);
    let text = format!("API_KEYS={NEW_KEY}\nMAX_ATTEMPTS=5\nLOG_DIR=elsewhere\n");
    fs::write(home.path().join(".env"), text).expect("a file");
    process.signal("HUP");
    let log = wait_for("the reload", SOON, || {
        Some(home.read("logs/app.log"))
            .filter(|log| log.contains("without effect before a restart"))
    });
    assert!(
        log.contains("changed: nothing; fixed by the environment of the process: API_KEYS"),
        "{log}"
    );
    assert!(log.contains("before a restart: MAX_ATTEMPTS, LOG_DIR"), "{log}");
    assert_eq!(Client::with_key(port, KEY).get("/webhook-secret").status, 200);
    assert_eq!(Client::with_key(port, NEW_KEY).get("/webhook-secret").status, 401);
}

#[test]
fn key_generated_by_up_survives_a_reload() {
    let (home, port) = (Home::new(), free_port());
    let port_text = port.to_string();
    let mut process = Process::start(&home, "qwen-queue", &["up"], &[("PORT", &port_text)]);
    Client::new(port).wait_until_healthy(&mut process, false);
    let output = process.output();
    let key = output.split("X-API-Key: ").nth(1).and_then(|rest| rest.split('\'').next());
    let key = key.expect("the key is printed");
    process.signal("HUP");
    wait_for("the reload", SOON, || {
        home.read("logs/app.log").contains("changed: nothing").then_some(())
    });
    assert_eq!(Client::with_key(port, key).get("/webhook-secret").status, 200);
    fs::write(home.path().join(".env"), format!("API_KEYS={NEW_KEY}\n")).expect("a file");
    process.signal("HUP");
    wait_for("the set key", SOON, || {
        (Client::with_key(port, NEW_KEY).get("/webhook-secret").status == 200).then_some(())
    });
    assert_eq!(Client::with_key(port, key).get("/webhook-secret").status, 401);
}

#[test]
fn worker_reloads_on_sighup_and_stops_on_a_signal() {
    let (home, redis) = (Home::new(), RedisServer::start());
    let url = redis.url();
    let mut worker = Process::start(&home, "qwen-queue-worker", &[], &[("REDIS_URL", &url)]);
    wait_for("the worker", SOON, || home.read("logs/app.log").contains("worker").then_some(()));
    let file = home
        .path()
        .join("logs")
        .join(fs::read_link(home.path().join("logs/app.log")).expect("a link"));
    fs::rename(&file, home.path().join("old.log")).expect("a move");
    fs::write(home.path().join(".env"), "LOG_LEVEL=debug\n").expect("a file");
    worker.signal("HUP");
    wait_for("the reload", SOON, || {
        home.read("logs/app.log").contains("LOG_LEVEL (info to debug)").then_some(())
    });
    worker.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert!(worker.is_alive());
    worker.signal("TERM");
    assert!(worker.wait(SOON).success(), "{}", worker.output());
}

#[test]
fn closing_the_terminal_drains() {
    let model = models::slow();
    let model = model.to_str().expect("UTF-8");
    for line in [
        // In the foreground; with the terminal as output alone; and as a job of an interactive shell.
        "echo pid=$$.; exec \"$QWEN_QUEUE\" up",
        "echo pid=$$.; exec \"$QWEN_QUEUE\" up </dev/null 2>/dev/null",
        "exec bash --norc --noediting -i -c '\"$QWEN_QUEUE\" up & echo pid=$!.; wait'",
    ] {
        let (home, port) = (Home::new(), free_port());
        let port_text = port.to_string();
        let settings = [
            ("PORT", port_text.as_str()),
            ("API_KEYS", KEY),
            ("MODEL_NAME", model),
            ("DRAIN_SECONDS", "1"),
        ];
        let terminal = Terminal::run(&home, line, &settings);
        let client = Client::new(port);
        wait_for("a worker", SOON, || {
            (client.try_get("/health")?.body["model_loaded"] == true).then_some(())
        });
        let long = json!({"prompt": "count", "raw": true, "max_tokens": 2000, "temperature": 0.0});
        let task = client.submit(&long);
        client.wait_for_state(&task, "processing");
        terminal.close_and_wait();
        let log = home.read("logs/app.log");
        assert!(log.contains("SIGHUP: the terminal was closed: stopping"), "{line}: {log}");
        assert!(log.contains("given back to the queue"), "{line}: {log}");
        assert!(log.contains("gateway.process - INFO - stopped"), "{line}: {log}");
        assert!(!log.contains("stopping at once"), "{line}: {log}");
    }
}
