//! Accepts an HTTP/1.0 `POST` without a body and without a `Content-Length`.
//!
//! nginx forwards such a request in this form unless `proxy_http_version 1.1` is set. A request
//! without `Content-Length` and `Transfer-Encoding` has no body (RFC 9112, section 6.3), but
//! actix-http answers with a bare 400 before any route sees it (actix-web #2976). [`Stream`]
//! therefore inserts `Content-Length: 0` into the head of such a request. A connection whose first
//! request is HTTP/1.1, as nearly all are, is passed through unchanged from the first line on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longer heads are passed on unchanged, for actix-http to reject.
const MAX_HEAD: usize = 128 * 1024;
/// Maximum number of headers that are parsed; actix-http accepts 96.
const MAX_HEADERS: usize = 128;
/// Inserted before the empty line that ends the head.
const NO_BODY: &[u8] = b"Content-Length: 0\r\n";

/// A client's connection.
pub(crate) struct Stream {
    tcp: TcpStream,
    state: State,
    /// Bytes that were read and not yet passed on.
    ready: Vec<u8>,
    handed_on: usize,
}

enum State {
    /// Inside a request's head; holds the bytes received so far.
    Head(Vec<u8>),
    /// Inside a body; holds the number of bytes left.
    Body(u64),
    /// Passes everything through unchanged.
    Through,
}

impl Stream {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, state: State::Head(Vec::new()), ready: Vec::new(), handed_on: 0 }
    }

    /// Returns the underlying connection.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Copies ready bytes into `buffer`. Returns `true` if there were any.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = &self.ready[self.handed_on..];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.handed_on += count;
        if self.handed_on == self.ready.len() {
            (self.ready, self.handed_on) = (Vec::new(), 0);
        }
        count > 0
    }

    /// Processes received bytes; an empty slice means end of stream. Returns `true` if bytes are
    /// ready to be passed on.
    fn take(&mut self, came: &[u8]) -> bool {
        let is_end = came.is_empty();
        let mut came = came.to_vec();
        loop {
            match &mut self.state {
                State::Through => self.ready.append(&mut came),
                State::Body(left) => {
                    let count = came.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.ready.extend(came.drain(..count));
                    *left -= count as u64;
                    if *left == 0 {
                        self.state = State::Head(Vec::new());
                    }
                    if !came.is_empty() {
                        continue;
                    }
                }
                State::Head(head) => {
                    head.append(&mut came);
                    let next = if is_end { Some(Next::Through) } else { next(head) };
                    let Some(next) = next else { break };
                    let mut head = std::mem::take(head);
                    match next {
                        Next::Through => {
                            self.ready.append(&mut head);
                            self.state = State::Through;
                        }
                        Next::Request { end, insert_at, body } => {
                            came = head.split_off(end);
                            if let Some(at) = insert_at {
                                head.splice(at..at, NO_BODY.iter().copied());
                            }
                            self.ready.append(&mut head);
                            self.state = match body {
                                0 => State::Head(Vec::new()),
                                bytes => State::Body(bytes),
                            };
                            if !came.is_empty() {
                                continue;
                            }
                        }
                    }
                }
            }
            break;
        }
        !self.ready.is_empty()
    }
}

/// The decision that the beginning of a head allows.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Pass the rest of the connection through.
    Through,
    /// A complete HTTP/1.0 head.
    Request {
        /// The length of the head.
        end: usize,
        /// The position at which [`NO_BODY`] is inserted, if it is needed.
        insert_at: Option<usize>,
        /// The length of the body.
        body: u64,
    },
}

/// Decides how to continue; returns `None` if more bytes are needed.
fn next(head: &[u8]) -> Option<Next> {
    if !could_be_http10(head) || head.len() > MAX_HEAD {
        return Some(Next::Through);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let end = match request.parse(head) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some(Next::Through), // actix-http says what is wrong with it
    };
    if request.version != Some(0) {
        return Some(Next::Through);
    }
    let is = |name: &str| {
        let name = name.to_owned();
        move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(&name)
    };
    let mut lengths = request.headers.iter().filter(is("content-length"));
    let length = lengths.next().map(|header| header.value);
    let is_odd = lengths.next().is_some()
        || request.headers.iter().any(|header| is("transfer-encoding")(&header))
        || request.headers.iter().any(|header| is("upgrade")(&header));
    if is_odd {
        return Some(Next::Through); // its length is not ours to judge
    }
    let Some(length) = length else {
        let is_post = request.method == Some("POST");
        // The head ends with an empty line, whose `\r` may be missing.
        let empty_line = if head[..end].ends_with(b"\r\n") { 2 } else { 1 };
        return Some(Next::Request {
            end,
            insert_at: is_post.then_some(end - empty_line),
            body: 0,
        });
    };
    let digits = std::str::from_utf8(length).ok().map(str::trim);
    let body = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    Some(match body.and_then(|text| text.parse().ok()) {
        Some(body) => Next::Request { end, insert_at: None, body },
        None => Next::Through,
    })
}

/// Returns `true` if the request line, as far as it is received, can still end with `HTTP/1.0`.
fn could_be_http10(head: &[u8]) -> bool {
    // Skips empty lines before a request, as the parser does.
    let start = head.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(head.len());
    let line = &head[start..];
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => line[..end].trim_ascii_end().ends_with(b" HTTP/1.0"),
        None => true,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.hand_on(buffer) || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            let read = Pin::new(&mut this.tcp).poll_read(context, buffer);
            if matches!(this.state, State::Through) || !matches!(read, Poll::Ready(Ok(()))) {
                return read;
            }
            let came = &buffer.filled()[before..];
            // The usual case: an HTTP/1.1 request line in one piece is not copied.
            if matches!(&this.state, State::Head(head) if head.is_empty())
                && next(came) == Some(Next::Through)
            {
                this.state = State::Through;
                return read;
            }
            let is_end = came.is_empty();
            let any = this.take(came);
            buffer.set_filled(before);
            if is_end && !any {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
