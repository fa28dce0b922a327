//! One POST: to an address that was checked, on a connection of its own, bounded in time and size.
//! What an HTTP client would do besides (redirects, proxies from the environment, pools, another
//! look-up of the name) is what must not happen here, so the connection is made by hand.

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

/// How long a try may take in all: look-up, connection, TLS, request and answer.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How long one of several addresses may take to accept the connection.
const CONNECT: Duration = Duration::from_secs(3);
/// How much of an answer's head is read.
const MAX_HEAD: usize = 16 * 1024;
/// How much of an answer's body is read, to be dropped: enough for those who close only once they
/// could say all.
const MAX_BODY: usize = 4 * 1024;
/// How long that may take, once the answer's status is known.
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
    /// `webhook-id`: the same for every try, so that a receiver can tell a repetition.
    pub id: String,
    /// `webhook-timestamp`: when this try was signed, in seconds since 1970.
    pub timestamp_s: u64,
    /// `webhook-signature`.
    pub signature: String,
    /// What is told, in JSON.
    pub body: Vec<u8>,
}

/// What the receiver answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// Why there is no answer. In words that a client may read: they give no address away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing to sign with. While keys are changed on one gateway after the other, another may know it.
    #[error("the API key that submitted the task is not configured here")]
    UnknownKey,
    /// The URL is not allowed (any more).
    #[error("the URL {0}")]
    Url(#[from] UrlRefused),
    /// The name leads nowhere, or where it must not.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// No address accepts a connection.
    #[error("the receiver can't be connected to")]
    Connect,
    /// TLS failed.
    #[error("the receiver's TLS certificate or handshake was refused")]
    Tls,
    /// The connection broke off, or what came is no HTTP.
    #[error("the receiver gave no valid HTTP answer")]
    Broken,
    /// It took too long.
    #[error("the receiver did not answer within {}", seconds(.0))]
    Late(Duration),
}

/// The TLS library can't be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS can't be used, so no webhook could be sent: {0}")]
pub struct TlsUnusable(#[from] tokio_rustls::rustls::Error);

fn seconds(span: &Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

impl Sender {
    /// One that keeps to the guard. A try takes at most `limit` ([`LIMIT`] is the usual).
    ///
    /// # Errors
    /// When the TLS library does not offer its own safe defaults.
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

    /// How long a try takes at most.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Sends a message to a URL, which is checked again, and answers with what came back, whatever
    /// its status. Redirects are not followed.
    ///
    /// # Errors
    /// When no answer came.
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

/// TLS knows IPv6 addresses without the brackets that URLs have.
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

/// Sends the request and reads the answer. Dropping this closes the connection.
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
        let _ = tokio::time::timeout(BODY, read_a_little(response)).await;
        Ok(answer)
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The receiver hung up: what it had said by then is still handed on.
        _ = connection => exchange.await,
    }
}

async fn read_a_little(mut response: Response<Incoming>) {
    let mut read = 0;
    while read <= MAX_BODY
        && let Some(Ok(frame)) = response.body_mut().frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Duration::try_from(at - now).unwrap_or_default())
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
