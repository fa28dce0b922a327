//! The load generator: sends prepared HTTP/1.1 requests over keep-alive connections, all on one
//! thread, with one request in flight per connection. It uses little processor time, since it
//! shares the cores with what it measures.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use protocol::TaskId;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

/// Maximum time for a response.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server, and the headers of requests to it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The server's address.
    pub(super) address: SocketAddr,
    /// Sent with every request, as `Name: value`.
    pub(super) headers: Vec<String>,
}

impl Target {
    /// Builds a request for `path`, with `body` as JSON if there is one.
    pub(super) fn request(&self, method: &str, path: &str, body: Option<&str>) -> Vec<u8> {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for header in &self.headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        if let Some(body) = body {
            text.push_str("Content-Type: application/json\r\n");
            text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        } else {
            text.push_str("\r\n");
        }
        text.into_bytes()
    }
}

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    /// The time when the request was sent.
    pub(super) sent: Instant,
    /// The time from the request until the response was read.
    pub(super) took: Duration,
    /// The response's status.
    pub(super) status: u16,
    /// The `task_id` in the response's body, if it has one.
    pub(super) task_id: Option<TaskId>,
}

/// A keep-alive connection.
pub(super) struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl Connection {
    /// Connects to a server.
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, inbox: Vec::with_capacity(8 * 1024) })
    }

    /// Sends a request and reads the response.
    pub(super) async fn send(&mut self, request: &[u8]) -> Result<Reply> {
        let sent = Instant::now();
        let answered = tokio::time::timeout(TIMEOUT, self.exchange(request)).await;
        let (status, body_at) = answered.context("the server did not answer in time")??;
        let took = sent.elapsed();
        Ok(Reply { sent, took, status, task_id: task_id(&self.inbox[body_at..]) })
    }

    /// Returns the status, and where the body begins in `inbox`.
    async fn exchange(&mut self, mut request: &[u8]) -> Result<(u16, usize)> {
        while !request.is_empty() {
            match self.stream.try_write(request) {
                Ok(written) => request = &request[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.inbox.clear();
        loop {
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut self.inbox) {
                Ok(0) => bail!("the server closed the connection within a response"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if let Some(whole) = head(&self.inbox)?
                && self.inbox.len() >= whole.body_at + whole.length
            {
                return Ok((whole.status, whole.body_at));
            }
        }
    }
}

struct Head {
    status: u16,
    body_at: usize,
    length: usize,
}

/// Parses a response's head. Returns `None` while it is incomplete.
fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_at) = response.parse(bytes)? else { return Ok(None) };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
        .context("the response has no Content-Length, which the load generator needs")?;
    Ok(Some(Head { status: response.code.unwrap_or(0), body_at, length }))
}

fn task_id(body: &[u8]) -> Option<TaskId> {
    const NAME: &[u8] = b"\"task_id\":\"";
    let at = body.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    std::str::from_utf8(body.get(at..at + 36)?).ok()?.parse().ok()
}

/// Sends requests over `connections` connections, each as soon as the response before is read, or
/// every `pace` if given. `next` writes a request into its buffer, or returns `false` if there are
/// no more.
///
/// # Errors
/// If a connection fails.
pub(super) fn send_all(
    address: SocketAddr,
    connections: usize,
    pace: Option<Duration>,
    next: impl FnMut(&mut Vec<u8>) -> bool + 'static,
) -> Result<Vec<Reply>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let next = Rc::new(RefCell::new(next));
    local.block_on(&runtime, async {
        let mut tasks = JoinSet::new();
        for number in 0..connections {
            let mut connection =
                Connection::connect(address).await.context("can't connect to the server")?;
            let next = Rc::clone(&next);
            tasks.spawn_local(async move {
                let mut replies = Vec::new();
                let mut request = Vec::new();
                // Staggered, so that requests are evenly spaced over all connections.
                let mut due = pace
                    .map(|pace| Instant::now() + pace.mul_f64(number as f64 / connections as f64));
                loop {
                    if let (Some(at), Some(pace)) = (&mut due, pace) {
                        tokio::time::sleep_until((*at).into()).await;
                        *at += pace;
                    }
                    request.clear();
                    if !(*next.borrow_mut())(&mut request) {
                        return Ok(replies);
                    }
                    replies.push(connection.send(&request).await?);
                }
            });
        }
        let mut all = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let replies: Result<Vec<Reply>> = ended?;
            all.extend(replies?);
        }
        Ok(all)
    })
}

/// Sends the same request until `span` is over.
pub(super) fn repeat(
    target: &Target,
    connections: usize,
    span: Duration,
    pace: Option<Duration>,
    request: Vec<u8>,
) -> Result<Vec<Reply>> {
    let until = Instant::now() + span;
    send_all(target.address, connections, pace, move |buffer| {
        buffer.extend_from_slice(&request);
        Instant::now() < until
    })
}

/// Returns the requests per second, from the first request to the last response.
pub(super) fn rate(replies: &[Reply]) -> f64 {
    let first = replies.iter().map(|reply| reply.sent).min();
    let last = replies.iter().map(|reply| reply.sent + reply.took).max();
    match first.zip(last) {
        Some((first, last)) if last > first => replies.len() as f64 / (last - first).as_secs_f64(),
        _ => 0.0,
    }
}

/// Fails unless every response has the status.
pub(super) fn expect(replies: &[Reply], status: u16) -> Result<()> {
    match replies.iter().find(|reply| reply.status != status) {
        Some(reply) => bail!("a request was answered with {} instead of {status}", reply.status),
        None if replies.is_empty() => bail!("no request was answered"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn responses_are_read_completely_in_any_fragmentation() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let id = TaskId::new();
        let body = format!("{{\"status\":\"queued\",\"task_id\":\"{id}\"}}");
        let answer =
            format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in [1, 7, answer.len()] {
                let mut asked = [0; 4096];
                assert!(stream.read(&mut asked).unwrap() > 0);
                for part in answer.as_bytes().chunks(piece) {
                    stream.write_all(part).unwrap();
                }
            }
        });
        let target = Target { address, headers: vec!["X-API-Key: k".into()] };
        let request = target.request("POST", "/generate", Some("{}"));
        let mut left = 3;
        let replies = send_all(address, 1, None, move |buffer| {
            buffer.extend_from_slice(&request);
            left -= 1;
            left >= 0
        })
        .unwrap();
        assert_eq!(replies.len(), 3);
        assert!(replies.iter().all(|reply| reply.status == 202 && reply.task_id == Some(id)));
        assert!(expect(&replies, 202).is_ok());
        assert!(expect(&replies, 200).is_err());
    }
}
