//! Compares with curl: a request goes through the proxy if and only if curl's does.

#![allow(clippy::unwrap_used)] // in helpers too: a failure there is a failed test

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proxies::{Agents, Variables};

/// Starts a proxy that rejects all requests and reports their heads.
fn proxy() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            let head = head.join("\n");
            let answer = b"HTTP/1.1 418 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer);
            if asked.send(head).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

/// Variables, and the requested URL. `PROXY` stands for the proxy's address.
type Case = (&'static [(&'static str, &'static str)], &'static str);

const CASES: &[Case] = &[
    // Selection of the variable.
    (&[("https_proxy", "http://PROXY")], "http://127.0.0.1:1/"),
    (&[("https_proxy", "http://PROXY")], "https://127.0.0.1:1/"),
    (&[("HTTPS_PROXY", "http://PROXY")], "https://127.0.0.1:1/"),
    (&[("HTTP_PROXY", "http://PROXY")], "http://127.0.0.1:1/"),
    (&[("http_proxy", "http://PROXY")], "http://127.0.0.1:1/"),
    (&[("http_proxy", "PROXY")], "http://127.0.0.1:1/"),
    (&[("http_proxy", "http://PROXY")], "https://127.0.0.1:1/"),
    (&[("all_proxy", "http://PROXY")], "http://127.0.0.1:1/"),
    (&[("ALL_PROXY", "http://PROXY")], "https://127.0.0.1:1/"),
    (&[("ALL_PROXY", "http://PROXY"), ("http_proxy", "")], "http://127.0.0.1:1/"),
    (&[("all_proxy", "http://127.0.0.1:2"), ("http_proxy", "http://PROXY")], "http://127.0.0.1:1/"),
    (&[("http_proxy", "http://user:pa%23ss@PROXY/")], "http://127.0.0.1:1/"),
    // Exempt hosts.
    (&[("http_proxy", "http://PROXY")], "http://localhost:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "localhost")], "http://localhost:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "localhost")], "http://127.0.0.1:1/"),
    (&[("http_proxy", "http://PROXY"), ("NO_PROXY", "localhost")], "http://LOCALHOST:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", ""), ("NO_PROXY", "*")], "http://localhost:1/"),
    (
        &[("http_proxy", "http://PROXY"), ("no_proxy", "x"), ("NO_PROXY", "*")],
        "http://localhost:1/",
    ),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", " * ")], "http://127.0.0.1:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "x,*")], "http://127.0.0.1:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "a.test")], "http://a.test:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "a.test")], "http://b.a.test:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "a.test")], "http://ba.test:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", ".a.test")], "http://a.test:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", ".A.test.")], "http://b.a.test:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "x y,a.test")], "http://a.test:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "x, a.test ,z")], "http://a.test:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "a.test:1")], "http://a.test:1/"),
    // Addresses and ranges. IPv6 ranges are left out: curl 7.88 does not follow its own
    // documentation there.
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "127.0.0.1")], "http://127.0.0.1:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "127.0.0.0/8")], "http://127.9.9.9:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "127.16.0.0/12")], "http://127.31.0.1:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "127.16.0.0/12")], "http://127.32.0.1:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "127.0.0.0/0")], "http://127.0.0.1:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "127.0.0.0/33")], "http://127.0.0.0:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "::1")], "http://[::1]:1/"),
    (&[("http_proxy", "http://PROXY"), ("no_proxy", "::2")], "http://[::1]:1/"),
];

#[test]
fn proxy_decisions_match_curl() {
    let (address, requests) = proxy();
    let mut wrong = Vec::new();
    let mut through = 0;
    for (variables, url) in CASES {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.replace("PROXY", &address)))
            .collect();
        let asked = || {
            requests
                .recv_timeout(Duration::from_millis(1))
                .ok()
                .or_else(|| requests.try_recv().ok())
        };
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "10", "--output", "/dev/null"]);
        // Names resolve without DNS to an address on which nothing listens.
        for name in ["a.test", "b.a.test", "ba.test"] {
            curl.args(["--resolve", &format!("{name}:1:127.0.0.1")]);
        }
        curl.arg(url).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        curl.envs(variables.iter().map(|(name, value)| (name, value))).stdout(Stdio::null());
        curl.status().expect("curl is installed: run scripts/test, which installs it");
        let theirs = asked();

        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        };
        let agents = Agents::new(Variables::of(get), |config| {
            config.http_status_as_error(false).timeout_global(Some(Duration::from_secs(10)))
        });
        let (agent, via) = agents.for_url(url).unwrap();
        let named = via.is_some();
        let _ = agent.get(*url).call();
        let ours = asked();

        // Keeps the lines to compare: the request line, the host and the credentials.
        let told = |head: &String| {
            let lines: Vec<String> = head
                .lines()
                .filter(|line| {
                    let line = line.to_lowercase();
                    line.contains(" http/1.")
                        || line.starts_with("host:")
                        || line.starts_with("proxy-auth")
                })
                .map(str::to_lowercase)
                .collect();
            lines
        };
        let (theirs, ours) = (theirs.as_ref().map(told), ours.as_ref().map(told));
        through += usize::from(theirs.is_some());
        let mut sorted = (theirs.clone(), ours.clone());
        for lines in [&mut sorted.0, &mut sorted.1].into_iter().flatten() {
            lines.sort();
        }
        if sorted.0 != sorted.1 || named != ours.is_some() {
            wrong.push(format!("{variables:?} {url}\n  curl: {theirs:?}\n  ours: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    assert!((10..CASES.len() - 10).contains(&through), "{through} went through the proxy");
}
