//! A hostile client: forged tokens, tricks with headers, addresses and logs. Nothing gets in, and every refusal has
//! its line in `audit.log`.

mod forging_logs;
mod headers;
mod signing;
mod tokens;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::process::{ADMIN_KEY, Home, KEY, Process};
use harness::{client::Client, free_port, wait_for};

/// A gateway with the embedded queue that no model serves.
struct Target {
    home: Home,
    process: Process,
    port: u16,
}

impl Target {
    fn start(settings: &[(&str, &str)]) -> Self {
        let (home, port) = (Home::new(), free_port());
        let port_text = port.to_string();
        let mut all = vec![("PORT", &*port_text), ("API_KEYS", KEY), ("ADMIN_API_KEY", ADMIN_KEY)];
        all.extend_from_slice(settings);
        let mut process = Process::start(&home, "qwen-queue", &["up"], &all);
        Client::new(port).wait_until_healthy(&mut process, false);
        Self { home, process, port }
    }

    /// Sends bytes and returns the status and the whole reply.
    fn send(&self, request: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        // The gateway may refuse before it has read everything.
        let _ = stream.write_all(request);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no reply but {reply:?}")), reply)
    }

    /// Sends `GET /v1/models` with these header lines.
    fn get_with(&self, headers: &str) -> (u16, String) {
        let request =
            format!("GET /v1/models HTTP/1.1\r\nHost: q\r\nConnection: close\r\n{headers}\r\n");
        self.send(request.as_bytes())
    }

    /// Waits until `audit.log` has a line that contains all of these, and returns it.
    fn audit_line(&self, parts: &[&str]) -> String {
        wait_for(&format!("an audit line with {parts:?}"), Duration::from_secs(5), || {
            let log = self.home.read("logs/audit.log");
            let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
            log.lines().find(has_all).map(str::to_owned)
        })
    }
}
