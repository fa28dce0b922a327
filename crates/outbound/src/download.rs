//! [`Downloader`]: gets a file, bounded in time and size. Every redirect is checked as the first URL is.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use tokio::time::timeout;

use crate::connection::{ConnectError, Connector};
use crate::guard::{LookupError, Receiver, UrlRefused};

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// Downloads files.
#[derive(Clone)]
pub struct Downloader {
    connector: Connector,
    /// The most bytes of a file.
    /// The time limit of a download, with all its redirects.
    limit: Duration,
}

/// The reason why a file is not downloaded. Clients read these messages, so they contain no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// The URL, or that of a redirect, is not allowed.
    #[error("the URL {0}")]
    Url(UrlRefused),
    /// The name resolves to an address that is not allowed.
    #[error("the URL leads to an address that is not public")]
    NotPublic,
    /// The name does not resolve, or nothing accepts a connection.
    #[error("the server of the URL can't be reached")]
    Unreachable,
    /// TLS failed.
    #[error("the TLS handshake with the server failed, or its certificate is not trusted")]
    Tls,
    /// The response is not valid HTTP, or breaks off.
    #[error("the server returned no complete HTTP response")]
    Broken,
    /// The status is neither 200 nor a redirect.
    #[error("the server returned status {0}")]
    Status(u16),
    /// There are too many redirects.
    #[error("the server redirects more than {MAX_REDIRECTS} times")]
    Redirects,
    /// The file is too large.
    #[error("the file has more than {most} bytes")]
    TooLarge {
        /// The limit.
        most: usize,
    },
    /// The download took too long.
    #[error("the server did not send the file within {} s", .0.as_secs_f64())]
    Late(Duration),
}

impl From<ConnectError> for DownloadError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Lookup(LookupError::NotPublic) => Self::NotPublic,
            ConnectError::Lookup(LookupError::NoAddress) | ConnectError::Connect => {
                Self::Unreachable
            }
            ConnectError::Tls => Self::Tls,
            ConnectError::Broken => Self::Broken,
        }
    }
}

/// The response to one request.
enum Step {
    File(Bytes),
    Redirect(String),
}

impl Downloader {
    /// Creates a downloader of files, each within `limit`.
    pub fn new(connector: Connector, limit: Duration) -> Self {
        Self { connector, limit }
    }

    /// Downloads a file of at most `max_bytes`.
    ///
    /// # Errors
    /// If the URL or that of a redirect is not allowed, or the file does not arrive within the limits.
    pub async fn get(&self, url: &str, max_bytes: usize) -> Result<Bytes, DownloadError> {
        let late = |_| DownloadError::Late(self.limit);
        timeout(self.limit, self.follow(url, max_bytes)).await.map_err(late)?
    }

    async fn follow(&self, url: &str, max_bytes: usize) -> Result<Bytes, DownloadError> {
        let check = |url: &str| self.connector.guard().check(url).map_err(DownloadError::Url);
        let mut receiver = check(url)?;
        for _ in 0..=MAX_REDIRECTS {
            let request = request(&receiver)?;
            let read = async move |response| step(response, max_bytes).await;
            match self.connector.exchange(&receiver, request, read).await?? {
                Step::File(bytes) => return Ok(bytes),
                Step::Redirect(location) => {
                    let next = receiver.url().join(&location);
                    let next = next.map_err(|_| DownloadError::Url(UrlRefused::Malformed))?;
                    receiver = check(next.as_str())?;
                }
            }
        }
        Err(DownloadError::Redirects)
    }
}

fn request(receiver: &Receiver) -> Result<Request<Empty<Bytes>>, DownloadError> {
    Request::get(receiver.target())
        .header(HOST, receiver.authority())
        .header(USER_AGENT, concat!("qwen-queue/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "image/*, video/*, */*;q=0.1")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|_| DownloadError::Url(UrlRefused::Malformed))
}

async fn step(response: Response<Incoming>, most: usize) -> Result<Step, DownloadError> {
    let status = response.status().as_u16();
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        return location
            .map(|location| Step::Redirect(location.to_owned()))
            .ok_or(DownloadError::Broken);
    }
    if status != 200 {
        return Err(DownloadError::Status(status));
    }
    let mut body = response.into_body();
    if body.size_hint().lower() > most as u64 {
        return Err(DownloadError::TooLarge { most });
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| DownloadError::Broken)?;
        let Some(piece) = frame.data_ref() else { continue };
        if bytes.len() + piece.len() > most {
            return Err(DownloadError::TooLarge { most });
        }
        bytes.extend_from_slice(piece);
    }
    Ok(Step::File(bytes.into()))
}
