//! [`Connector`]: connects to a checked address and sends one request. Uses hyper directly, because an HTTP client would
//! also follow redirects, use proxies from the environment, pool connections and resolve the name again; each of these
//! bypasses the guard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::guard::{Guard, LookupError, Receiver};

/// The time limit for each of a receiver's addresses to accept the connection.
const CONNECT: Duration = Duration::from_secs(3);
/// The most bytes of a response's head that are read.
const MAX_HEAD: usize = 16 * 1024;

/// Connects to receivers that the guard allows.
#[derive(Clone)]
pub struct Connector {
    guard: Guard,
    tls: TlsConnector,
}

/// The reason why there is no connection, or no response on it. Clients read these messages, so they contain no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
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
}

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS can't be used, so no request could be sent: {0}")]
pub struct TlsUnusable(#[from] tokio_rustls::rustls::Error);

/// A connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Connector {
    /// Creates a connector that connects only where `guard` allows. It trusts Mozilla's roots.
    ///
    /// # Errors
    /// If the TLS library does not offer its own safe default protocol versions.
    pub fn new(guard: Guard) -> Result<Self, TlsUnusable> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self::trusting(roots, guard)
    }

    /// Creates a connector that trusts other roots.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn trusting(roots: RootCertStore, guard: Guard) -> Result<Self, TlsUnusable> {
        let config =
            ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        Ok(Self { guard, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Returns the guard.
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// Sends a request, reads the head of the response, and passes it to `read`. Dropping the future closes the
    /// connection.
    ///
    /// # Errors
    /// If an address of the receiver's is not allowed, or there is no valid response.
    pub async fn exchange<B, T>(
        &self,
        receiver: &Receiver,
        request: Request<B>,
        read: impl AsyncFnOnce(Response<Incoming>) -> T,
    ) -> Result<T, ConnectError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let addresses = self.guard.addresses(receiver).await?;
        let stream = connect(&addresses).await?;
        let stream: Box<dyn Stream> = if receiver.url().scheme() == "http" {
            Box::new(stream)
        } else {
            let name = ServerName::try_from(unbracketed(receiver.host()).to_owned());
            let name = name.map_err(|_| ConnectError::Tls)?;
            Box::new(self.tls.connect(name, stream).await.map_err(|_| ConnectError::Tls)?)
        };
        talk(stream, request, read).await
    }
}

/// Strips the brackets that an IPv6 address has in a URL: TLS server names have none.
fn unbracketed(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Connects to the first address that accepts.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    for address in addresses {
        if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            return Ok(stream);
        }
    }
    Err(ConnectError::Connect)
}

async fn talk<B, T>(
    stream: Box<dyn Stream>,
    request: Request<B>,
    read: impl AsyncFnOnce(Response<Incoming>) -> T,
) -> Result<T, ConnectError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| ConnectError::Broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|_| ConnectError::Broken)?;
        Ok(read(response).await)
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The receiver closed the connection: return the response if it was complete by then.
        _ = connection => exchange.await,
    }
}
