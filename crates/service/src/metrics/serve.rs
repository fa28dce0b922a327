//! The listener of `METRICS_PORT`: `GET /metrics`, without a key, and nothing else.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::Metrics;
use crate::Settings;

/// Maximum number of connections at once; further ones wait.
const MAX_CONNECTIONS: usize = 16;
/// Maximum size of a request's head. A body is not read.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Maximum time for a client to send its head, and for a whole connection.
const LIMITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));
/// The pause after a connection could not be accepted, as when no file descriptors are left.
const PAUSE: Duration = Duration::from_millis(200);

/// Binds the port that the settings name, if they name one.
///
/// # Errors
/// If the port is in use or the process may not bind it.
pub fn bind(settings: &Settings) -> Result<Option<TcpListener>> {
    let Some(address) = settings.metrics_address.map(SocketAddr::from) else { return Ok(None) };
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "can't listen on {address}: stop what uses the port, or set METRICS_PORT to another"
        )
    })?;
    tracing::info!(target: "service.metrics", "metrics on http://{}/metrics", listener.local_addr()?);
    Ok(Some(listener))
}

/// Serves until dropped.
///
/// # Errors
/// If the socket is unusable.
pub async fn serve(listener: TcpListener, metrics: Metrics) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let metrics = metrics.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(LIMITS.1, converse(stream, metrics)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(target: "service.metrics", "not accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, metrics: Metrics) {
    let answer = service_fn(|request| {
        let metrics = metrics.clone();
        async move { Ok::<_, Infallible>(answer(&request, &metrics).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIMITS.0)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = served.await {
        tracing::debug!(target: "service.metrics", "a connection failed: {error}");
    }
}

async fn answer<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let (status, text) = match request.uri().path() {
        "/metrics" if is_read => (StatusCode::OK, metrics.render().await),
        "/metrics" => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(super::CONTENT_TYPE));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await; // may be reset after the answer
        text
    }

    #[tokio::test]
    async fn only_metrics_are_served_and_silent_clients_are_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, super::super::install()));
        // Some clients that send nothing leave room for others.
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS - 1 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        for (request, status) in [
            ("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "200 OK"),
            ("GET /metrics?a=b HTTP/1.0\r\n\r\n".to_owned(), "200 OK"),
            ("POST /metrics HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "405 Method"),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "404 Not"),
            ("GET /admin/overview HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "404 Not"),
            (format!("GET /metrics HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(100_000)), "431 "),
        ] {
            let reply = exchange(address, &request).await;
            assert!(reply.get(9..).is_some_and(|rest| rest.starts_with(status)), "{reply}");
            assert_eq!(reply.contains("build_info{version="), status == "200 OK", "{reply}");
        }
        drop(silent);
    }
}
