//! Parses proxy addresses from the environment; pure.

use ureq::{Proxy, ProxyProtocol};

#[derive(Clone)]
pub(crate) struct Address {
    /// The address without user and password.
    pub(crate) shown: String,
    /// The proxy as `ureq` represents it.
    pub(crate) proxy: Proxy,
}

/// Parses `[scheme://][user:password@]host[:port]`; anything after a slash is ignored. As in curl,
/// the default scheme is HTTP and the default port 1080 (443 for https).
///
/// # Errors
/// If the text is not a proxy address. The message does not contain the text.
pub(crate) fn read(text: &str) -> Result<Address, String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => ("http".to_owned(), text),
    };
    let (scheme, port) = match &*scheme {
        "http" => ("http", 1080),
        "https" => ("https", 443),
        "socks" | "socks4" => ("socks4", 1080),
        "socks4a" => ("socks4a", 1080),
        "socks5" => ("socks5", 1080),
        "socks5h" => ("socks5h", 1080),
        _ => return Err("its scheme is unknown".to_owned()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (format!("{user}@"), address),
        None => (String::new(), authority),
    };
    let (host, port) = match address.rsplit_once(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some((host, given)) if !given.ends_with(']') => match given.parse::<u16>() {
            Ok(port) if port > 0 => (host, port),
            _ => return Err("its port is not a number from 1 to 65535".to_owned()),
        },
        _ => (address, port),
    };
    if host.is_empty() {
        return Err("it has no host".to_owned());
    }
    let proxy = Proxy::new(&format!("{scheme}://{user}{host}:{port}"))
        .map_err(|_| "it has a character that must be written as %XX".to_owned())?;
    Ok(Address { shown: format!("{scheme}://{host}:{port}"), proxy })
}

impl Address {
    /// Returns `true` for an HTTP proxy without TLS.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.proxy.protocol() == ProxyProtocol::Http
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_addresses_are_parsed_like_curl() {
        for (text, shown) in [
            ("proxy:3128", "http://proxy:3128"),
            ("proxy", "http://proxy:1080"),
            ("HTTP://proxy:3128/", "http://proxy:3128"),
            ("https://proxy", "https://proxy:443"),
            ("socks5h://u:p@proxy", "socks5h://proxy:1080"),
            ("socks://proxy", "socks4://proxy:1080"),
            ("http://user:se%23same@proxy:3128/?x", "http://proxy:3128"),
            ("http://[::1]:3128", "http://[::1]:3128"),
            ("[::1]", "http://[::1]:1080"),
        ] {
            let address = read(text).unwrap_or_else(|what| panic!("{text}: {what}"));
            assert_eq!(address.shown, shown, "{text}");
        }
        let address = read("http://user:se%23same@proxy").unwrap();
        assert_eq!(
            (address.proxy.username(), address.proxy.password()),
            (Some("user"), Some("se#same"))
        );
    }

    #[test]
    fn invalid_proxy_addresses_are_refused_without_leaking_them() {
        for (text, word) in [
            ("ftp://seSame@proxy", "scheme"),
            ("http://", "no host"),
            ("http://seSame@", "no host"),
            ("proxy:port", "port"),
            ("proxy:0", "port"),
            ("http://se same@proxy", "%XX"),
        ] {
            let Err(what) = read(text) else { panic!("{text} is an address") };
            assert!(what.contains(word) && !what.contains("seSame"), "{text}: {what}");
        }
    }
}
