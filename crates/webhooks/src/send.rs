//! Sends one POST to a checked address, on a connection of its own, bounded in time and size. Uses
//! hyper directly, because an HTTP client would also follow redirects, use proxies from the
//! environment, pool connections and resolve the name again; each of these bypasses the guard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::guard::{Guard, LookupError, Receiver, UrlRefused};

/// The time limit of a try: name look-up, connection, TLS, request and response.
pub const LIMIT: Duration = Duration::from_secs(10);
/// The time limit for each of a receiver's addresses to accept the connection.
const CONNECT: Duration = Duration::from_secs(3);
/// The most bytes of a response's head that are read.
const MAX_HEAD: usize = 16 * 1024;
/// The most bytes of a response's body that are read and dropped: receivers that treat a close
/// before they have sent a short body as an error get to send it.
const MAX_BODY: usize = 4 * 1024;
/// The time limit for reading the body, once the status is known.
const BODY: Duration = Duration::from_secs(1);

/// Sends webhooks.
#[derive(Clone)]
pub struct Sender {
    guard: Guard,
    limit: Duration,
    tls: TlsConnector,
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
    #[error("the URL {0}")]
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

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS can't be used, so no webhook could be sent: {0}")]
pub struct TlsUnusable(#[from] tokio_rustls::rustls::Error);

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
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self::trusting(roots, guard, limit)
    }

    fn trusting(roots: RootCertStore, guard: Guard, limit: Duration) -> Result<Self, TlsUnusable> {
        let config =
            ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        Ok(Self { guard, limit, tls: TlsConnector::from(Arc::new(config)) })
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
        let receiver = self.guard.check(url)?;
        tokio::time::timeout(self.limit, self.exchange(&receiver, message))
            .await
            .unwrap_or(Err(SendError::Late(self.limit)))
    }

    async fn exchange(&self, receiver: &Receiver, message: Message) -> Result<Answer, SendError> {
        let addresses = self.guard.addresses(receiver).await?;
        let stream = connect(&addresses).await?;
        let request = request(receiver, message)?;
        if receiver.url().scheme() == "http" {
            return talk(stream, request).await;
        }
        let name = ServerName::try_from(unbracketed(receiver.host()).to_owned());
        let name = name.map_err(|_| SendError::Tls)?;
        talk(self.tls.connect(name, stream).await.map_err(|_| SendError::Tls)?, request).await
    }
}

/// Strips the brackets that an IPv6 address has in a URL: TLS server names have none.
fn unbracketed(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Connects to the first address that accepts.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, SendError> {
    for address in addresses {
        if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            return Ok(stream);
        }
    }
    Err(SendError::Connect)
}

fn request(receiver: &Receiver, message: Message) -> Result<Request<Full<Bytes>>, SendError> {
    let url = receiver.url();
    let authority = match url.port() {
        Some(port) => format!("{}:{port}", receiver.host()),
        None => receiver.host().to_owned(),
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Request::post(path)
        .header(HOST, authority)
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

/// Sends the request and reads the response. Dropping the future closes the connection.
async fn talk<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| SendError::Broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|_| SendError::Broken)?;
        let answer = Answer {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers(), OffsetDateTime::now_utc()),
        };
        let _ = tokio::time::timeout(BODY, drain_body(response)).await;
        Ok(answer)
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The receiver closed the connection: return the response if it was complete by then.
        _ = connection => exchange.await,
    }
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
