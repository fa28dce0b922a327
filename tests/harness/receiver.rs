//! A receiver of webhooks on a real socket, well or badly behaved.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::wait_for;

/// The receiver's response to a request.
#[derive(Debug, Clone)]
pub enum ReceiverReply {
    /// Responds with this status and further header lines, each ended by `\r\n`.
    Answer(u16, String),
    /// Reads the request and does not respond.
    Silence,
    /// Responds with 200 and a body that never ends.
    Endless,
    /// Responds with these bytes.
    Bytes(Vec<u8>),
}

impl ReceiverReply {
    /// Responds with a status only.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, String::new())
    }
}

/// A received request.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    /// The request line.
    pub line: String,
    /// The headers, by name in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// When it was received.
    pub at: Instant,
}

impl ReceivedRequest {
    /// Returns a header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Vec<ReceivedRequest>>,
    stopped: AtomicBool,
    written: AtomicUsize,
}

/// A receiver. Listens until it is dropped.
pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Starts one on a free port. `manner` decides how to respond to the n-th request, from 0.
    pub fn start(manner: impl Fn(usize) -> ReceiverReply + Send + Sync + 'static) -> Self {
        Self::on(0, manner)
    }

    /// Starts one that responds with 204 to everything.
    pub fn kind() -> Self {
        Self::start(|_| ReceiverReply::status(204))
    }

    /// Starts one on this port.
    ///
    /// # Panics
    /// If the port is in use.
    pub fn on(port: u16, manner: impl Fn(usize) -> ReceiverReply + Send + Sync + 'static) -> Self {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).expect("the receiver's port is in use");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let (state, manner) = (Arc::clone(&shared), Arc::new(manner));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if state.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (state, manner) = (Arc::clone(&state), Arc::clone(&manner));
                std::thread::spawn(move || state.serve(stream, &*manner));
            }
        });
        Self { port, shared }
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns all requests received so far.
    pub fn heard(&self) -> Vec<ReceivedRequest> {
        self.shared.heard().clone()
    }

    /// Returns the requests about a task.
    pub fn requests_for(&self, task_id: &str) -> Vec<ReceivedRequest> {
        let mut heard = self.heard();
        heard.retain(|heard| heard.header("webhook-id") == task_id);
        heard
    }

    /// Waits until `count` requests were received and returns them.
    ///
    /// # Panics
    /// If `limit` passes.
    pub fn wait_for(&self, count: usize, limit: Duration) -> Vec<ReceivedRequest> {
        wait_for(&format!("{count} webhooks"), limit, || {
            Some(self.heard()).filter(|heard| heard.len() >= count)
        })
    }

    /// Returns how many bytes of endless bodies were written, into buffers on the way too.
    pub fn written(&self) -> usize {
        self.shared.written.load(Ordering::SeqCst)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the listener
    }
}

impl Shared {
    fn heard(&self) -> std::sync::MutexGuard<'_, Vec<ReceivedRequest>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream, manner: &(impl Fn(usize) -> ReceiverReply + ?Sized)) {
        let Some(heard) = read(&stream) else { return };
        let nth = {
            let mut all = self.heard();
            all.push(heard);
            all.len() - 1
        };
        let _ = match manner(nth) {
            ReceiverReply::Answer(status, headers) => {
                let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n");
                stream.write_all(text.as_bytes())
            }
            ReceiverReply::Bytes(bytes) => stream.write_all(&bytes),
            ReceiverReply::Silence => {
                while !self.stopped.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            }
            ReceiverReply::Endless => self.write_endlessly(&mut stream),
        };
    }

    fn write_endlessly(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n")?;
        while !self.stopped.load(Ordering::SeqCst) {
            self.written.fetch_add(stream.write(&[b'x'; 16 * 1024])?, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Reads one request. Returns `None` if it is not a complete one.
fn read(stream: &TcpStream) -> Option<ReceivedRequest> {
    let mut reader = BufReader::new(stream);
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    };
    let line = next()?;
    let mut headers = HashMap::new();
    loop {
        let header = next()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut body).ok()?;
    Some(ReceivedRequest { line, headers, body, at: Instant::now() })
}
