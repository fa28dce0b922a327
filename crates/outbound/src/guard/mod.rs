//! Prevents server-side request forgery (SSRF): clients must not reach through the gateway what
//! they cannot reach themselves. A URL is checked by its form when it is submitted, and at every
//! try by all addresses that its name then resolves to. The connection goes to a checked address:
//! the name is not resolved a second time.

mod address;

use std::net::{IpAddr, SocketAddr};

use address::Reach;
use url::{Host, Url};

/// The longest URL, in bytes.
pub const MAX_URL: usize = 2_048;
/// The most addresses of a name that are checked.
const MAX_ADDRESSES: usize = 64;

/// Decides which receivers are allowed.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Whether loopback, private and unique local addresses are allowed.
    pub allow_private: bool,
}

/// A URL that passed [`Guard::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver(Url);

/// The reason why a URL can't be used. Formats what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Longer than [`MAX_URL`], as given or in its normal form.
    #[error("must have at most {MAX_URL} bytes")]
    TooLong,
    /// Not a URL, or one without a host.
    #[error("is no URL: expected one such as https://example.org/hook")]
    Malformed,
    /// Neither `http` nor `https`.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// Contains a user name or a password.
    #[error("must not have a user name or a password")]
    Credentials,
    /// The host is an address that is not allowed.
    #[error("leads to an address that is not public")]
    NotPublic,
}

/// The reason why a receiver can't be reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name has no address, or the look-up failed.
    #[error("the receiver's name can't be resolved")]
    NoAddress,
    /// At least one of the name's addresses is not allowed.
    #[error("the receiver's name resolves to an address that is not public")]
    NotPublic,
}

impl Guard {
    /// Checks a URL without a look-up: its form, and its host if that is an address, in whatever
    /// notation.
    ///
    /// # Errors
    /// If it can't be used.
    pub fn check(&self, text: &str) -> Result<Receiver, UrlRefused> {
        if text.len() > MAX_URL {
            return Err(UrlRefused::TooLong);
        }
        let mut url = Url::parse(text).map_err(|_| UrlRefused::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlRefused::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefused::Credentials);
        }
        url.set_fragment(None);
        let allowed = match url.host() {
            None => return Err(UrlRefused::Malformed),
            // RFC 6761: always the machine itself, so it needs no look-up.
            Some(Host::Domain(name)) => self.allow_private || !is_localhost(name),
            Some(Host::Ipv4(address)) => self.allows(address.into()),
            Some(Host::Ipv6(address)) => self.allows(address.into()),
        };
        if !allowed {
            return Err(UrlRefused::NotPublic);
        }
        if url.as_str().len() > MAX_URL {
            return Err(UrlRefused::TooLong);
        }
        Ok(Receiver(url))
    }

    /// Resolves the receiver's name and returns its addresses, in the order to try them. If one of
    /// them is not allowed, returns an error and none of them.
    ///
    /// # Errors
    /// If there is no address, or one of them is not allowed.
    pub async fn addresses(&self, receiver: &Receiver) -> Result<Vec<SocketAddr>, LookupError> {
        let port = receiver.0.port_or_known_default().ok_or(LookupError::NoAddress)?;
        let addresses: Vec<SocketAddr> = match receiver.0.host() {
            None => Vec::new(),
            Some(Host::Ipv4(address)) => vec![(address, port).into()],
            Some(Host::Ipv6(address)) => vec![(address, port).into()],
            Some(Host::Domain(name)) => {
                let found = tokio::net::lookup_host((name, port)).await;
                found.map_err(|_| LookupError::NoAddress)?.take(MAX_ADDRESSES).collect()
            }
        };
        if addresses.is_empty() {
            return Err(LookupError::NoAddress);
        }
        if !addresses.iter().all(|address| self.allows(address.ip())) {
            return Err(LookupError::NotPublic);
        }
        Ok(addresses)
    }

    fn allows(self, address: IpAddr) -> bool {
        match address::reach(address) {
            Reach::Public => true,
            Reach::Inside => self.allow_private,
            Reach::Never => false,
        }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

impl Receiver {
    /// Returns the URL in its normal form.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the parsed URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Returns the value of the request's `Host` header.
    pub fn authority(&self) -> String {
        match self.0.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        }
    }

    /// Returns the target of the request: path and query.
    pub fn target(&self) -> String {
        match self.0.query() {
            Some(query) => format!("{}?{query}", self.0.path()),
            None => self.0.path().to_owned(),
        }
    }

    /// Returns the host, which may be logged. The rest of the URL may be secret.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC_ONLY: Guard = Guard { allow_private: false };
    const PRIVATE_ALLOWED: Guard = Guard { allow_private: true };

    #[test]
    fn webhook_urls_are_validated() {
        let check = |url: &str| PUBLIC_ONLY.check(url).map(|receiver| receiver.as_str().to_owned());
        assert_eq!(check("https://example.org/h?x=1#y").unwrap(), "https://example.org/h?x=1");
        assert_eq!(check("http://example.org:8080").unwrap(), "http://example.org:8080/");
        for (url, refused) in [
            ("", UrlRefused::Malformed),
            ("example.org/hook", UrlRefused::Malformed),
            ("https://", UrlRefused::Malformed),
            ("https://:443/", UrlRefused::Malformed),
            ("https://a b/", UrlRefused::Malformed),
            ("ftp://example.org/", UrlRefused::Scheme),
            ("file:///etc/passwd", UrlRefused::Scheme),
            ("unix:/run/x.sock", UrlRefused::Scheme),
            ("gopher://127.0.0.1:6379/_x", UrlRefused::Scheme),
            ("https://user@example.org/", UrlRefused::Credentials),
            ("https://:password@example.org/", UrlRefused::Credentials),
            ("https://example.org@10.0.0.1/", UrlRefused::Credentials),
        ] {
            assert_eq!(check(url), Err(refused), "{url}");
        }
        let long = format!("https://example.org/{}", "x".repeat(MAX_URL));
        assert_eq!(check(&long), Err(UrlRefused::TooLong));
        let growing = format!("https://example.org/{}", "\u{e9}".repeat(800));
        assert_eq!(check(&growing), Err(UrlRefused::TooLong), "its normal form is longer");
    }

    #[test]
    fn an_address_is_recognised_in_every_notation() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0x7f.1/",
            "http://127.0.0.1./",
            "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
            "http://127%2e0.0.1/",
            "http:127.0.0.1/",
            "http:\\\\127.0.0.1\\",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[fd00::1]/",
            "http://0/",
            "http://169.254.169.254/latest/meta-data/",
            "http://localhost:8000/",
            "http://LOCALHOST./",
            "http://a.localhost/",
        ] {
            assert_eq!(PUBLIC_ONLY.check(url), Err(UrlRefused::NotPublic), "{url}");
        }
    }

    #[test]
    fn private_receivers_can_be_allowed_but_not_metadata_services() {
        for url in
            ["http://127.0.0.1:1/", "http://10.1.2.3/", "http://[fd00::1]/", "http://localhost/"]
        {
            assert!(PRIVATE_ALLOWED.check(url).is_ok(), "{url}");
        }
        for url in ["http://169.254.169.254/", "http://0.0.0.0/", "http://[ff02::1]/"] {
            assert_eq!(PRIVATE_ALLOWED.check(url), Err(UrlRefused::NotPublic), "{url}");
        }
    }

    #[tokio::test]
    async fn host_name_is_checked_by_its_resolved_addresses() {
        // A `Receiver` that the stricter guard did not check, as for any name that resolves to
        // here.
        let here = PRIVATE_ALLOWED.check("http://localhost:8123/").unwrap();
        assert_eq!(PUBLIC_ONLY.addresses(&here).await, Err(LookupError::NotPublic));
        let addresses = PRIVATE_ALLOWED.addresses(&here).await.unwrap();
        assert!(
            addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 8123),
            "{addresses:?}"
        );
        let nowhere = PUBLIC_ONLY.check("http://no-such-name.invalid/").unwrap();
        assert_eq!(PUBLIC_ONLY.addresses(&nowhere).await, Err(LookupError::NoAddress));
    }
}
