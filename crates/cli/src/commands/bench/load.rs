//! The load generator: prepared HTTP/1.1 requests over keep-alive connections, all on one thread, one
//! request in flight per connection. It is this light because it shares its cores with what it
//! measures.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use protocol::TaskId;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and the headers it wants.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Sent with every request, as `Name: value`.
    pub(super) headers: Vec<String>,
}

impl Target {
    /// A request for `path`, with `body` as JSON if there is one.
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

/// One request that was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shot {
    /// When it was begun.
    pub(super) sent: Instant,
    /// Until its answer was read.
    pub(super) took: Duration,
    /// The answer's status.
    pub(super) status: u16,
    /// The `task_id` in the answer's body, if it has one.
    pub(super) task_id: Option<TaskId>,
}

/// A keep-alive connection.
pub(super) struct Line {
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl Line {
    /// Connects.
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, inbox: Vec::with_capacity(8 * 1024) })
    }

    /// Sends a request and reads its answer.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Shot> {
        let sent = Instant::now();
        let answered = tokio::time::timeout(PATIENCE, self.exchange(request)).await;
        let (status, body_at) = answered.context("the server did not answer in time")??;
        let took = sent.elapsed();
        Ok(Shot { sent, took, status, task_id: task_id(&self.inbox[body_at..]) })
    }

    /// Answers the status, and where the body begins in the inbox.
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
                Ok(0) => bail!("the server hung up in the middle of an answer"),
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

/// Reads an answer's head; none while it is not all there.
fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_at) = response.parse(bytes)? else { return Ok(None) };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
        .context("the answer has no Content-Length: the load generator needs one")?;
    Ok(Some(Head { status: response.code.unwrap_or(0), body_at, length }))
}

fn task_id(body: &[u8]) -> Option<TaskId> {
    const NAME: &[u8] = b"\"task_id\":\"";
    let at = body.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    std::str::from_utf8(body.get(at..at + 36)?).ok()?.parse().ok()
}

/// Fires from `connections` connections, each as soon as it has its answer, or every `pace` if there is
/// one. `next` writes a request into the buffer it is given, or says that there are no more.
///
/// # Errors
/// When a connection breaks.
pub(super) fn fire(
    address: SocketAddr,
    connections: usize,
    pace: Option<Duration>,
    next: impl FnMut(&mut Vec<u8>) -> bool + 'static,
) -> Result<Vec<Shot>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let next = Rc::new(RefCell::new(next));
    local.block_on(&runtime, async {
        let mut lines = JoinSet::new();
        for number in 0..connections {
            let mut line = Line::connect(address).await.context("can't connect to the server")?;
            let next = Rc::clone(&next);
            lines.spawn_local(async move {
                let mut shots = Vec::new();
                let mut request = Vec::new();
                // The connections take turns, so that their sum is even.
                let mut due = pace
                    .map(|pace| Instant::now() + pace.mul_f64(number as f64 / connections as f64));
                loop {
                    if let (Some(at), Some(pace)) = (&mut due, pace) {
                        tokio::time::sleep_until((*at).into()).await;
                        *at += pace;
                    }
                    request.clear();
                    if !(*next.borrow_mut())(&mut request) {
                        return Ok(shots);
                    }
                    shots.push(line.ask(&request).await?);
                }
            });
        }
        let mut all = Vec::new();
        while let Some(ended) = lines.join_next().await {
            let shots: Result<Vec<Shot>> = ended?;
            all.extend(shots?);
        }
        Ok(all)
    })
}

/// The same request until the time is over.
pub(super) fn repeat(
    target: &Target,
    connections: usize,
    span: Duration,
    pace: Option<Duration>,
    request: Vec<u8>,
) -> Result<Vec<Shot>> {
    let until = Instant::now() + span;
    fire(target.address, connections, pace, move |buffer| {
        buffer.extend_from_slice(&request);
        Instant::now() < until
    })
}

/// How many per second: from the first request to the last answer.
pub(super) fn rate(shots: &[Shot]) -> f64 {
    let first = shots.iter().map(|shot| shot.sent).min();
    let last = shots.iter().map(|shot| shot.sent + shot.took).max();
    match first.zip(last) {
        Some((first, last)) if last > first => shots.len() as f64 / (last - first).as_secs_f64(),
        _ => 0.0,
    }
}

/// Fails unless every answer had the status.
pub(super) fn expect(shots: &[Shot], status: u16) -> Result<()> {
    match shots.iter().find(|shot| shot.status != status) {
        Some(shot) => bail!("a request was answered with {} instead of {status}", shot.status),
        None if shots.is_empty() => bail!("no request was answered"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn answers_are_read_whole_however_they_are_cut() {
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
        let shots = fire(address, 1, None, move |buffer| {
            buffer.extend_from_slice(&request);
            left -= 1;
            left >= 0
        })
        .unwrap();
        assert_eq!(shots.len(), 3);
        assert!(shots.iter().all(|shot| shot.status == 202 && shot.task_id == Some(id)));
        assert!(expect(&shots, 202).is_ok());
        assert!(expect(&shots, 200).is_err());
    }
}
