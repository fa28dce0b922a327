//! Sends one POST to a checked address, on a connection of its own, bounded in time and size. Follows no redirects.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use outbound::{ConnectError, Connector, Guard, LookupError, Receiver, UrlRefused};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::refused;
pub use outbound::TlsUnusable;

/// The time limit of a try: name look-up, connection, TLS, request and response.
pub const LIMIT: Duration = Duration::from_secs(10);
/// The most bytes of a response's body that are read and dropped: receivers that treat a close
/// before they have sent a short body as an error get to send it.
const MAX_BODY: usize = 4 * 1024;
/// The time limit for reading the body, once the status is known.
const BODY: Duration = Duration::from_secs(1);

/// Sends webhooks.
#[derive(Clone)]
pub struct Sender {
    connector: Connector,
    limit: Duration,
}

/// A signed message.
#[derive(Debug, Clone)]
pub struct Message {
    /// `webhook-id`: the same for every try, so that a receiver can recognise a repetition.
    pub id: String,
    /// `webhook-timestamp`: when this try was signed, in seconds since the Unix epoch.
    pub timestamp_s: u64,
    /// `webhook-signature`.
    pub signature: String,
    /// The body: JSON.
    pub body: Vec<u8>,
}

/// A receiver's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`: how long the receiver asks to wait before the next try.
    pub retry_after: Option<Duration>,
}

/// The reason why there is no response. Clients read these messages, so they contain no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No secret to sign with. While keys are being changed on one gateway after the other, another
    /// gateway may have it.
    #[error("the API key that submitted the task is not configured here")]
    UnknownKey,
    /// The secret of the task's owner can't be read from the store.
    #[error("the secret to sign with can't be read: the queue is unavailable")]
    NoSecret,
    /// The URL is not allowed, or is no longer.
    #[error("the URL {}", refused(*.0))]
    Url(#[from] UrlRefused),
    /// The receiver's name does not resolve, or to an address that is not allowed.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// No address accepts a connection.
    #[error("the receiver can't be connected to")]
    Connect,
    /// TLS failed.
    #[error("the TLS handshake with the receiver failed, or its certificate is not trusted")]
    Tls,
    /// The connection broke, or the response is not valid HTTP.
    #[error("the receiver returned no valid HTTP response")]
    Broken,
    /// The try took too long.
    #[error("the receiver did not answer within {}", seconds(.0))]
    Late(Duration),
}

impl From<ConnectError> for SendError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Lookup(error) => Self::Lookup(error),
            ConnectError::Connect => Self::Connect,
            ConnectError::Tls => Self::Tls,
            ConnectError::Broken => Self::Broken,
        }
    }
}

fn seconds(span: &Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

impl Sender {
    /// Creates a sender that sends only where `guard` allows. A try takes at most `limit` (usually
    /// [`LIMIT`]).
    ///
    /// # Errors
    /// If the TLS library does not offer its own safe default protocol versions.
    pub fn new(guard: Guard, limit: Duration) -> Result<Self, TlsUnusable> {
        Ok(Self::with(Connector::new(guard)?, limit))
    }

    fn with(connector: Connector, limit: Duration) -> Self {
        Self { connector, limit }
    }

    /// The longest that a try takes.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Sends a message to a URL, which is checked again, and returns the response, whatever its
    /// status. Does not follow redirects.
    ///
    /// # Errors
    /// If the URL is not allowed or no valid response came within the limit.
    pub async fn send(&self, url: &str, message: Message) -> Result<Answer, SendError> {
        let receiver = self.connector.guard().check(url)?;
        tokio::time::timeout(self.limit, self.exchange(&receiver, message))
            .await
            .unwrap_or(Err(SendError::Late(self.limit)))
    }

    async fn exchange(&self, receiver: &Receiver, message: Message) -> Result<Answer, SendError> {
        let request = request(receiver, message)?;
        Ok(self.connector.exchange(receiver, request, read).await?)
    }
}

fn request(receiver: &Receiver, message: Message) -> Result<Request<Full<Bytes>>, SendError> {
    Request::post(receiver.target())
        .header(HOST, receiver.authority())
        .header(USER_AGENT, concat!("qwen-queue-webhooks/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .header("webhook-id", message.id)
        .header("webhook-timestamp", message.timestamp_s)
        .header("webhook-signature", message.signature)
        .body(Full::new(Bytes::from(message.body)))
        .map_err(|_| SendError::Url(UrlRefused::Malformed))
}

async fn read(response: Response<Incoming>) -> Answer {
    let answer = Answer {
        status: response.status().as_u16(),
        retry_after: retry_after(response.headers(), OffsetDateTime::now_utc()),
    };
    let _ = tokio::time::timeout(BODY, drain_body(response)).await;
    answer
}

async fn drain_body(mut response: Response<Incoming>) {
    let mut read = 0;
    while read <= MAX_BODY
        && let Some(Ok(frame)) = response.body_mut().frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Parses `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Duration::try_from(at - now).unwrap_or_default())
}

#[cfg(test)]
mod tests;
