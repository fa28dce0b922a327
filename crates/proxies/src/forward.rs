//! Sends requests for `http://` URLs through an HTTP proxy in absolute form, with the whole URL in
//! the request line (RFC 9112, section 3.2.2). `ureq` would open a tunnel (`CONNECT`), which
//! proxies commonly allow only to port 443.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};
use ureq::{Agent, Error};

use crate::address::Address;

/// Returns an agent whose connections all go to the proxy, or `None` if its address is not a valid
/// URI.
pub(crate) fn agent(config: Config, address: &Address) -> Option<Agent> {
    let proxy = &address.proxy;
    let credentials = (proxy.username().is_some() || proxy.password().is_some()).then(|| {
        let (user, password) = (proxy.username(), proxy.password());
        STANDARD.encode(format!("{}:{}", user.unwrap_or_default(), password.unwrap_or_default()))
    });
    let header = credentials
        .map_or_else(String::new, |encoded| format!("Proxy-Authorization: Basic {encoded}\r\n"));
    let proxy: Uri = address.shown.parse().ok()?;
    let connector =
        ().chain(TcpConnector::default()).chain(ForwardConnector { header: header.into() });
    Some(Agent::with_parts(
        config,
        connector,
        ProxyResolver { proxy, inner: DefaultResolver::default() },
    ))
}

/// Resolves every host to the proxy's address; the proxy resolves the target.
struct ProxyResolver {
    proxy: Uri,
    inner: DefaultResolver,
}

impl fmt::Debug for ProxyResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyResolver({})", self.proxy)
    }
}

impl Resolver for ProxyResolver {
    fn resolve(
        &self,
        _target: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.inner.resolve(&self.proxy, config, timeout)
    }
}

/// Wraps connections to the proxy in [`Forward`].
struct ForwardConnector {
    /// The `Proxy-Authorization` header with its line end; empty without credentials.
    header: Arc<str>,
}

impl fmt::Debug for ForwardConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardConnector")
    }
}

impl<In: Transport> Connector<In> for ForwardConnector {
    type Out = Forward<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(inner) = chained else { return Ok(None) };
        let authority = details.uri.authority().map_or("", |authority| authority.as_str());
        let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
        let header = Arc::clone(&self.header);
        Ok(Some(Forward {
            inner,
            target: format!("http://{address}"),
            header,
            between_requests: true,
        }))
    }
}

/// A connection to the proxy, for requests to one target.
struct Forward<In> {
    inner: In,
    /// `http://host:port`.
    target: String,
    header: Arc<str>,
    /// The next bytes sent start a request: nothing was sent yet, or a response has arrived since.
    between_requests: bool,
}

impl<In> fmt::Debug for Forward<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({})", self.target)
    }
}

impl<In: Transport> Transport for Forward<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !std::mem::take(&mut self.between_requests) {
            return self.inner.transmit_output(amount, timeout);
        }
        let head = &self.inner.buffers().output()[..amount];
        let whole = with_whole_address(head, &self.target, &self.header);
        let mut rest = &*whole;
        while !rest.is_empty() {
            let output = self.inner.buffers().output();
            let part = rest.len().min(output.len());
            output[..part].copy_from_slice(&rest[..part]);
            self.inner.transmit_output(part, timeout)?;
            rest = &rest[part..];
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.between_requests = true;
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

/// Rewrites a request's head: inserts the target before the path, and the header before the others.
fn with_whole_address(head: &[u8], target: &str, header: &str) -> Vec<u8> {
    let path = head.iter().position(|byte| *byte == b' ').map(|blank| blank + 1);
    let Some(path) = path.filter(|path| head.get(*path) == Some(&b'/')) else {
        return head.to_vec();
    };
    let end = head.windows(2).position(|pair| pair == b"\r\n").map_or(head.len(), |at| at + 2);
    [&head[..path], target.as_bytes(), &head[path..end], header.as_bytes(), &head[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarding_rewrites_only_the_request_line() {
        let head = b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n/body";
        let whole = with_whole_address(head, "http://x:1", "P: q\r\n");
        assert_eq!(whole, b"GET http://x:1/a b HTTP/1.1\r\nP: q\r\nHost: x\r\n\r\n/body");
        let tunnel = b"CONNECT x:1 HTTP/1.1\r\n\r\n";
        assert_eq!(with_whole_address(tunnel, "http://x:1", ""), tunnel);
    }
}
