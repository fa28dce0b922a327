//! Runs some rows of the table with the real program: the effect of a value, and the error for an invalid one.

use std::time::Duration;

use harness::free_port;
use harness::process::{Home, Process};
use harness::wait_for;

use crate::Way;
use crate::table::{Expected, ROWS, Row};

const SOON: Duration = Duration::from_secs(30);

fn row(what: &str) -> &'static Row {
    ROWS.iter().find(|row| row.what == what).unwrap_or_else(|| panic!("no row {what:?}"))
}

/// Starts `up` with the text of a row in the given source; `others` are in the environment.
fn up(home: &Home, row: &Row, way: Way, others: &[(&'static str, &str)]) -> Process {
    let text = way.of(row).expect("the row has it this way");
    let mut settings = others.to_vec();
    settings.extend(way.prepare(row, text, home.path()));
    Process::start(home, "qwen-queue", &["up"], &settings)
}

/// Returns the status of a request with this key for a task that does not exist: 404 shows that the key is valid.
fn status_with(port: u16, key: &str) -> Option<u16> {
    let url = format!("http://127.0.0.1:{port}/status/0192f0c1-2345-7abc-8def-0123456789ab");
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let answer = config.new_agent().get(url).header("X-API-Key", key).call();
    Some(answer.ok()?.status().as_u16())
}

#[test]
fn invalid_value_stops_the_start_and_is_reported_with_file_and_line() {
    for (what, way) in [
        ("a quote never closed", Way::DotEnv),
        ("a path that begins with a variable", Way::DotEnv),
        ("a password with a hash", Way::Environment),
        ("a refusal behind line ends of Windows", Way::DotEnv),
        ("yes is not true", Way::Yaml),
        ("twice in different letters", Way::Yaml),
        ("an item with a comma", Way::Yaml),
        ("one letter missing", Way::DotEnv),
        ("a misspelled name", Way::Yaml),
    ] {
        let row = row(what);
        let Expected::Refused(line, word) = row.expected else { panic!("{what} is allowed") };
        let home = Home::new();
        let mut process = up(
            &home,
            row,
            way,
            &[("PORT", "0")]
                .map(|pair| if row.name == "PORT" { ("API_KEYS", "abcd-1234") } else { pair }),
        );
        let ended = process.wait(SOON);
        let said = process.output();
        assert_eq!(ended.code(), Some(1), "{what}: {said}");
        for word in [&way.place(line), word, &row.name.to_lowercase()] {
            assert!(said.to_lowercase().contains(&word.to_lowercase()), "{what}: {word}: {said}");
        }
        assert!(!said.contains("panicked") && !said.contains("seSame"), "{what}: {said}");
    }
}

#[test]
fn api_key_is_accepted_exactly_as_written() {
    for (what, way) in [
        ("a key of digits", Way::Yaml),
        ("a variable in a key", Way::DotEnv),
        ("a hash in a key", Way::Yaml),
        ("a key like a float", Way::Yaml),
    ] {
        let row = row(what);
        let Expected::Is(key) = row.expected else { panic!("{what} is refused") };
        let (home, port) = (Home::new(), free_port());
        let mut process = up(&home, row, way, &[("PORT", &port.to_string())]);
        let status = wait_for(&format!("an answer ({what})"), SOON, || {
            assert!(process.is_alive(), "{what}: {}", process.output());
            status_with(port, key)
        });
        assert_eq!(status, 404, "{what}: {}", process.output());
        assert_eq!(status_with(port, "another-key-1"), Some(401), "{what}");
    }
}

#[test]
fn paths_and_ports_are_used_as_written() {
    let (home, port) = (Home::new(), free_port());
    std::fs::write(home.path().join(".env"), "\u{feff}LOG_DIR=~/here\r\nHOST=LocalHost\r\n")
        .expect("a file");
    std::fs::write(
        home.path().join("qwen-queue.yaml"),
        format!("PORT: {port}\napi_keys: 0123456789\n"),
    )
    .expect("a file");
    // The harness sets HOST: empty lets `.env` decide.
    let mut process = Process::start(&home, "qwen-queue", &["up"], &[("HOST", "")]);
    let status = wait_for("an answer", SOON, || {
        assert!(process.is_alive(), "{}", process.output());
        status_with(port, "0123456789")
    });
    assert_eq!(status, 404, "{}", process.output());
    let logged = home.read("here/app.log");
    assert!(logged.contains(&format!("listening on http://127.0.0.1:{port}")), "{logged}");
}
