//! A hub of models on a real socket, reached directly or through it as an HTTP proxy.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves the files of one repository, whatever it is called. It ends with the test's process.
pub struct Hub {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// One with these files.
    ///
    /// # Panics
    /// If there is no port.
    pub fn start(files: Vec<(String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let (files, seen) = (Arc::new(files), Arc::new(Mutex::new(Vec::new())));
        let heads = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, heads) = (Arc::clone(&files), Arc::clone(&heads));
                std::thread::spawn(move || while serve(&stream, &files, &heads).is_some() {});
            }
        });
        Self { port, seen }
    }

    /// The address that it listens on, without a scheme.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The heads of all requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers one request; none when no other can follow.
fn serve(
    mut stream: &TcpStream,
    files: &[(String, Vec<u8>)],
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    let (method, target) = {
        let mut words = head.split(' ');
        (words.next()?, words.next()?)
    };
    if method == "CONNECT" {
        return stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok();
    }
    let path = target
        .split_once("://")
        .map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    let (status, etag, body) = if path.starts_with("/api/models/") {
        let names = files.iter().map(|(name, _)| format!("{{\"rfilename\":\"{name}\"}}"));
        let names: Vec<String> = names.collect();
        let list = format!("{{\"sha\":\"{COMMIT}\",\"siblings\":[{}]}}", names.join(","));
        ("200 OK", String::new(), list.into_bytes())
    } else {
        let file = files.iter().find(|(name, _)| path.ends_with(&format!("/{name}")));
        match file {
            Some((name, bytes)) => {
                let etag = format!("etag: \"{}-{}\"\r\n", name.replace('/', "-"), bytes.len());
                ("200 OK", etag, bytes.clone())
            }
            None => ("404 Not Found", String::new(), Vec::new()),
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nx-repo-commit: {COMMIT}\r\n{etag}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(&body).ok()?;
    }
    Some(())
}
