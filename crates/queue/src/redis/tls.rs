//! TLS to Redis: trusted certificates and the crypto provider.

use std::path::Path;

use redis::{Client, ConnectionAddr, ConnectionInfo, TlsCertificates};

use crate::OpenError;

/// Returns the address with its TLS settings; unchanged unless its URL is `rediss://`.
///
/// # Errors
/// Returns [`OpenError::RedisCa`] if the certificates can't be read.
pub(super) fn prepared(
    address: ConnectionInfo,
    ca_file: Option<&Path>,
) -> Result<ConnectionInfo, OpenError> {
    if !matches!(address.addr(), ConnectionAddr::TcpTls { .. }) {
        return Ok(address);
    }
    // An error means that the process already has a provider, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(path) = ca_file else { return Ok(address) };
    let unusable = |reason: String| OpenError::RedisCa { path: path.to_owned(), reason };
    let root_cert = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
    let client = Client::build_with_tls(address, certificates);
    Ok(client.map_err(|error| unusable(error.to_string()))?.get_connection_info().clone())
}
