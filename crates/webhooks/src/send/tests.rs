//! Tests of `Retry-After` and TLS.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use hyper::header::HeaderValue;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto};

use super::*;

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = OffsetDateTime::from_unix_timestamp(784_111_777).unwrap(); // the date in the RFC
    let ask = |text: &'static str| {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
        retry_after(&headers, now).map(|span| span.as_secs())
    };
    assert_eq!(ask("120"), Some(120));
    assert_eq!(ask("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
    assert_eq!(ask("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "past is now");
    assert_eq!(ask("soon"), None);
    assert_eq!(ask("-5"), None);
    assert_eq!(retry_after(&HeaderMap::new(), now), None);
}

/// Starts a TLS receiver for the name `localhost`. Returns its port and the roots that trust it.
fn receiver_with_tls() -> (u16, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut head = [0; 1024];
            let Ok(read) = stream.read(&mut head) else { continue }; // the client rejected the certificate
            assert!(head[..read].starts_with(b"POST /hook HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 202 X\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    (port, roots)
}

#[tokio::test]
async fn tls_needs_the_right_name_and_a_trusted_certificate() {
    let (port, roots) = receiver_with_tls();
    let guard = Guard { allow_private: true };
    let message = || Message {
        id: "msg_1".into(),
        timestamp_s: 1,
        signature: "v1,x".into(),
        body: b"{}".to_vec(),
    };
    let trusting = Sender::with(Connector::trusting(roots, guard).unwrap(), LIMIT);
    let sent = trusting.send(&format!("https://localhost:{port}/hook"), message()).await;
    assert_eq!(sent, Ok(Answer { status: 202, retry_after: None }));
    let other_name = trusting.send(&format!("https://127.0.0.1:{port}/hook"), message()).await;
    assert_eq!(other_name, Err(SendError::Tls));
    let distrusting = Sender::new(guard, LIMIT).unwrap();
    let sent = distrusting.send(&format!("https://localhost:{port}/hook"), message()).await;
    assert_eq!(sent, Err(SendError::Tls), "the certificate is self-signed");
}
