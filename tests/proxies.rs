//! Proxies of the environment: the command line's client and downloads follow curl's rules.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::thread;
use std::time::Duration;

use harness::cli::Cli;
use harness::client::Client;
use harness::free_port;
use harness::http_proxy::HttpProxy;
use harness::process::{Home, KEY, Process, binary};

/// No process listens on this port.
const DEAD: &str = "http://user:seSame@127.0.0.1:1";

struct System {
    _home: Home,
    _up: Process,
    client: Client,
}

impl System {
    fn start() -> Self {
        let (home, port) = (Home::new(), free_port());
        let port_text = port.to_string();
        let settings = [("PORT", port_text.as_str()), ("API_KEYS", KEY)];
        let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
        let client = Client::new(port);
        client.wait_until_healthy(&mut up, true);
        Self { _home: home, _up: up, client }
    }

    /// Runs a verb with these proxies and no others.
    fn run(&self, args: &[&str], proxies: &[(&str, &str)]) -> Output {
        let program = binary("qwen-queue");
        let cli = Cli::new(self.client.port());
        let mut command = cli.command(program.to_str().expect("UTF-8"), args);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.envs(proxies.iter().copied()).output().expect("it runs")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn proxies_that_do_not_apply_to_the_gateway_are_ignored() {
    let system = System::start();
    let task = system.client.ask("What is a lease?");
    for proxies in [
        &[("https_proxy", DEAD)][..],
        &[("HTTPS_PROXY", DEAD)],
        &[("HTTP_PROXY", DEAD)], // a CGI program's caller could set it
        &[("all_proxy", DEAD), ("no_proxy", "127.0.0.0/8")],
        &[("ALL_PROXY", DEAD), ("NO_PROXY", "*")],
        &[("http_proxy", DEAD), ("NO_PROXY", "example.org, 127.0.0.1")],
        &[("http_proxy", ""), ("all_proxy", "")],
    ] {
        let output = system.run(&["status", &task], proxies);
        assert!(output.status.success(), "{proxies:?}: {}", said(&output));
    }
}

#[test]
fn failing_proxy_is_named_without_its_password() {
    let system = System::start();
    for (proxies, url, words) in [
        (
            &[("http_proxy", DEAD)][..],
            "http://127.0.0.1:2",
            &["the proxy http://127.0.0.1:1 (http_proxy)", "no_proxy"][..],
        ),
        (
            &[("http_proxy", DEAD), ("no_proxy", "localhost")],
            "http://127.0.0.1:2",
            &["(http_proxy)"],
        ),
        (&[("ALL_PROXY", DEAD)], "http://localhost:2", &["(ALL_PROXY)"]),
        (
            &[("all_proxy", "socks5h://user:seSame@127.0.0.1:1")],
            "http://a.test",
            &["socks5h://127.0.0.1:1 (all_proxy)"],
        ),
        (&[("https_proxy", DEAD)], "https://a.test", &["(https_proxy)"]),
        (
            &[("http_proxy", "ftp://user:seSame@a")],
            "http://127.0.0.1:2",
            &["http_proxy is not the address of a proxy", "socks5h"],
        ),
        (
            &[("http_proxy", "127.0.0.1:seSame")],
            "http://127.0.0.1:2",
            &["http_proxy is not", "port"],
        ),
    ] {
        let output = system.run(&["status", "x", "--url", url], proxies);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{proxies:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{proxies:?}: {word}: {said}");
        }
        assert!(!said.contains("seSame"), "{proxies:?}: {said}");
    }
}

#[test]
fn submits_waits_and_streams_pass_through_a_proxy() {
    let system = System::start();
    // user:se#same
    let proxy = HttpProxy::to(system.client.port(), "dXNlcjpzZSNzYW1l");
    let address = format!("http://user:se%23same@127.0.0.1:{}", proxy.port());
    let proxies = [("http_proxy", &*address), ("https_proxy", DEAD)];
    // Only the proxy knows where that is.
    let url = ["--url", "http://gateway.test:8000"];
    let ask = ["submit", "What is a lease?", "--temperature", "0"];
    let answer = |how: &[&str], proxies: &[(&str, &str)]| {
        let output = system.run(&[&ask[..], how].concat(), proxies);
        assert!(output.status.success(), "{how:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let expected = answer(&["--wait"], &[]);
    for how in ["--wait", "--stream"] {
        assert_eq!(answer(&[how, url[0], url[1]], &proxies), expected);
        let heads = proxy.heads();
        assert!(
            heads[0].starts_with("POST http://gateway.test:8000/generate HTTP/1.1\r\n"),
            "{heads:?}"
        );
    }
    // A request with wrong credentials is refused with the proxy's name; an https:// URL gets a tunnel.
    let stranger = format!("http://user:seSame@127.0.0.1:{}", proxy.port());
    let output = system.run(&["status", "x", url[0], url[1]], &[("http_proxy", &stranger)]);
    let refused = said(&output);
    assert!(
        refused.contains("407") && refused.contains("the proxy http://127.0.0.1:"),
        "{refused}"
    );
    assert!(!refused.contains("seSame"), "{refused}");
    proxy.heads();
    let tls = ["status", "x", "--url", "https://gateway.test"];
    let output = system.run(&tls, &[("https_proxy", &address), ("http_proxy", DEAD)]);
    assert!(said(&output).contains("(https_proxy)"), "{}", said(&output));
    let heads = proxy.heads();
    assert!(heads[0].starts_with("CONNECT gateway.test:443 HTTP/1.1\r\n"), "{heads:?}");
}

#[test]
fn socks_proxy_is_addressed_with_the_socks_protocol() {
    let system = System::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("socks5h://{}", listener.local_addr().expect("bound"));
    let greeting = thread::spawn(move || {
        let mut first = [0; 1];
        listener.accept().expect("a client").0.read_exact(&mut first).map(|()| first[0])
    });
    system.run(&["status", "x", "--url", "http://a.test"], &[("all_proxy", &address)]);
    assert_eq!(greeting.join().expect("no panic").expect("a byte"), 5);
}

/// Starts a hub without repositories, which returns 404 to all requests, and returns its port.
fn hub() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let copy = stream.try_clone().expect("a copy");
            let lines = BufReader::new(copy).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    port
}

#[test]
fn downloads_follow_the_same_proxy_rules() {
    let endpoint = format!("http://127.0.0.1:{}", hub());
    let start = |proxy: (&str, &str)| {
        let home = Home::new();
        let settings = [
            ("PORT", "0"),
            ("API_KEYS", KEY),
            ("MODEL_NAME", "owner/name:Q8_0"),
            ("HF_ENDPOINT", endpoint.as_str()),
            proxy,
        ];
        let mut process = Process::start(&home, "qwen-queue", &["up"], &settings);
        assert_eq!(process.wait(Duration::from_secs(30)).code(), Some(1), "{}", process.output());
        process.output()
    };
    for proxy in [("https_proxy", DEAD), ("HTTP_PROXY", DEAD)] {
        let said = start(proxy);
        assert!(said.contains("there is no model owner/name"), "{proxy:?}: {said}");
    }
    let said = start(("all_proxy", DEAD));
    assert!(said.contains("through the proxy http://127.0.0.1:1 (all_proxy)"), "{said}");
    assert!(!said.contains("seSame"), "{said}");
}
