//! Tests the bytes that a proxy receives: all requests of a connection, and bodies of any size.

#![allow(clippy::unwrap_used)] // in helpers too: a failure there is a failed test

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use proxies::{Agents, Variables};

/// Answers this many requests on one connection with their own bodies, and returns their heads.
fn echo(requests: usize) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        (0..requests).map(|_| answer(&mut reader, &stream)).collect()
    });
    (address, heads)
}

fn answer(reader: &mut BufReader<TcpStream>, mut stream: &TcpStream) -> String {
    let lines = reader.by_ref().lines().map(Result::unwrap);
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let head = head.join("\n").to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(&body).unwrap();
    head
}

#[test]
fn requests_of_one_connection_have_absolute_urls_and_their_own_body() {
    let (address, heads) = echo(3);
    let get = |name: &str| (name == "http_proxy").then(|| format!("http://u:p%40w@{address}"));
    let agents = Agents::new(Variables::of(get), |config| config);
    let (agent, via) = agents.for_url("http://nowhere.test:7/").unwrap();
    assert_eq!(via.unwrap().to_string(), format!("the proxy http://{address} (http_proxy)"));
    let large = "/x HTTP/1.1\r\n".repeat(100_000);
    for body in ["small", &large, ""] {
        let mut answer = agent.post("http://nowhere.test:7/a?b").send(body).unwrap();
        let back = answer.body_mut().with_config().limit(8 << 20).read_to_string().unwrap();
        assert!(back == body, "a body of {} bytes came back as {}", body.len(), back.len());
    }
    for head in heads.join().unwrap() {
        assert!(head.starts_with("post http://nowhere.test:7/a?b http/1.1\n"), "{head}");
        assert!(head.contains("\nhost: nowhere.test:7"), "{head}");
        assert_eq!(head.matches("proxy-authorization: basic dtpwqhc=").count(), 1, "{head}");
    }
}
