//! A hub of our own on a local port: the routes that a download needs, and its faults on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub has and how it misbehaves.
#[derive(Default, Clone)]
pub(crate) struct Hub {
    /// The repository, `owner/name`.
    pub(crate) repo: &'static str,
    /// Files by their path within it.
    pub(crate) files: HashMap<String, Vec<u8>>,
    /// Every request for bytes breaks off after so many, this many times.
    pub(crate) drop_after: usize,
    pub(crate) drops: usize,
    /// Announces this hash, whatever the file's is.
    pub(crate) wrong_hash: Option<String>,
    /// Serves without ranges, as some mirrors do.
    pub(crate) no_ranges: bool,
    /// Serves to this token alone.
    pub(crate) token: Option<&'static str>,
    /// Answers this many requests with 503.
    pub(crate) unavailable: usize,
    /// Where the bytes are; the hub itself if empty.
    pub(crate) cdn: String,
    /// Serves one byte more than it announces.
    pub(crate) too_long: bool,
    /// A branch or tag beside `main`, as it stands in addresses.
    pub(crate) tag: &'static str,
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

/// A running server. It ends with the test's process.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    hub: Arc<Mutex<Hub>>,
}

impl Server {
    pub(crate) fn start(hub: Hub) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (hub, seen) = (Arc::new(Mutex::new(hub)), Arc::new(Mutex::new(Vec::new())));
        let server = Self { url, seen: seen.clone(), hub: hub.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (hub, seen) = (hub.clone(), seen.clone());
                thread::spawn(move || drop(serve(stream, &hub, &seen)));
            }
        });
        server
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Hub)) {
        change(&mut self.hub.lock().unwrap());
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The ranges of all requests for bytes.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        let seen = self.seen();
        let bytes = seen.into_iter().filter(|seen| seen.path.starts_with("/cdn/"));
        bytes.map(|seen| seen.range).collect()
    }
}

fn serve(stream: TcpStream, hub: &Mutex<Hub>, seen: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let request = Seen {
        method: method.to_owned(),
        path: path.to_owned(),
        range: headers.remove("range"),
        authorization: headers.remove("authorization"),
    };
    seen.lock().unwrap().push(request.clone());
    answer(stream, &request, &mut hub.lock().unwrap())
}

fn answer(mut stream: TcpStream, request: &Seen, hub: &mut Hub) -> std::io::Result<()> {
    let mut reply = |status: &str, headers: &str, body: &[u8], length: usize| {
        write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        )?;
        if request.method != "HEAD" {
            stream.write_all(body)?;
        }
        stream.flush()
    };
    if hub.unavailable > 0 {
        hub.unavailable -= 1;
        return reply("503 Service Unavailable", "", b"", 0);
    }
    if let Some(name) = request.path.strip_prefix("/cdn/") {
        let bytes = &hub.files[name];
        let from = match &request.range {
            Some(range) if !hub.no_ranges => {
                range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap()
            }
            _ => 0,
        };
        let mut body = bytes[from..].to_vec();
        let mut length = body.len();
        if hub.drops > 0 {
            hub.drops -= 1;
            body.truncate(hub.drop_after);
        } else if hub.too_long {
            body.push(0);
            length += 1;
        }
        return match from {
            0 => reply("200 OK", "", &body, length),
            _ => {
                let range =
                    format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                reply("206 Partial Content", &range, &body, length)
            }
        };
    }
    if let Some(token) = hub.token
        && request.authorization.as_deref() != Some(&format!("Bearer {token}"))
    {
        return reply("401 Unauthorized", "", b"{}", 2);
    }
    let list = format!("/api/models/{}/revision/", hub.repo);
    let revision = request.path.strip_prefix(&list);
    if revision.is_some_and(|revision| ["main", hub.tag].contains(&revision)) {
        let mut names: Vec<&String> = hub.files.keys().collect();
        names.sort();
        let siblings: Vec<_> =
            names.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        return reply("200 OK", "", body.as_bytes(), body.len());
    }
    let file = request.path.strip_prefix(&format!("/{}/resolve/", hub.repo));
    let file = file.and_then(|rest| rest.split_once('/'));
    match file.filter(|(revision, _)| ["main", COMMIT, hub.tag].contains(revision)) {
        Some((_, name)) if hub.files.contains_key(name) => {
            let bytes = &hub.files[name];
            let hash = hub.wrong_hash.clone().unwrap_or_else(|| sha256(bytes));
            let headers = format!(
                "Location: {}/cdn/{name}\r\nX-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{hash}\"\r\n\
                 X-Linked-Size: {}\r\nETag: \"other\"\r\n",
                hub.cdn,
                bytes.len()
            );
            reply("302 Found", &headers, b"", 0)
        }
        _ => reply("404 Not Found", "", b"Entry not found", 15),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
