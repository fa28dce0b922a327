//! The address of a proxy as people write it in the environment; pure.

use ureq::{Proxy, ProxyProtocol};

/// A proxy.
#[derive(Clone)]
pub(crate) struct Address {
    /// Without user and password.
    pub(crate) shown: String,
    /// How `ureq` is told.
    pub(crate) proxy: Proxy,
}

/// Reads `[scheme://][user:password@]host[:port]`; what follows a slash does not count. Without a scheme
/// it is an HTTP proxy, and without a port it listens on 1080 (443 for https), as for curl.
///
/// # Errors
/// With what is wrong, in words that don't show it.
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
        // A colon within brackets is of an IPv6 address.
        Some((host, given)) if !given.ends_with(']') => match given.parse::<u16>() {
            Ok(port) if port > 0 => (host, port),
            _ => return Err("its port is no number from 1 to 65535".to_owned()),
        },
        _ => (address, port),
    };
    if host.is_empty() {
        return Err("it names no host".to_owned());
    }
    let proxy = Proxy::new(&format!("{scheme}://{user}{host}:{port}"))
        .map_err(|_| "it has a character that needs to be written as %XX".to_owned())?;
    Ok(Address { shown: format!("{scheme}://{host}:{port}"), proxy })
}

impl Address {
    /// Whether it speaks HTTP on a plain connection.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.proxy.protocol() == ProxyProtocol::Http
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_as_curl_reads_it() {
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
    fn what_is_no_address_is_refused_without_showing_it() {
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
