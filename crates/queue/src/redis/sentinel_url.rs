//! Parses the URL of a Redis that Sentinels watch: `redis+sentinel://[user:password@]host:26379,…/primary[/db]`.

use redis::{ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::{RedisOptions, tls};
use crate::OpenError;

/// The port of Sentinels for which the URL has none.
const PORT: u16 = 26_379;
/// The expected form, for messages.
const FORM: &str =
    "redis+sentinel://[user:password@]host:26379,host2:26379/name-of-the-primary[/db]";

/// A valid URL.
#[derive(Debug, Clone)]
pub struct SentinelUrl {
    /// The name under which the Sentinels monitor the primary.
    pub(super) primary: String,
    /// The Sentinels, without credentials.
    pub(super) sentinels: Vec<ConnectionInfo>,
    /// Everything about the connection to the primary but its address.
    pub(super) template: ConnectionInfo,
}

impl SentinelUrl {
    /// Parses a URL. Returns `None` if its scheme has nothing to do with Sentinel. The error does not contain the URL,
    /// since that may contain a password.
    pub fn of(url: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = url.split_once("://")?;
        if !scheme.contains("sentinel") {
            return None;
        }
        Some(match scheme {
            "redis+sentinel" => Self::parse("redis", rest),
            "rediss+sentinel" => Self::parse("rediss", rest),
            other => Err(format!(
                "has the scheme {}; for Redis Sentinel write {FORM}, or rediss+sentinel:// for TLS",
                other.escape_debug()
            )),
        })
    }

    /// Adds the credentials of the Sentinels and the certificates to trust.
    ///
    /// # Errors
    /// Returns [`OpenError::RedisCa`] if the certificates can't be read.
    pub(super) fn prepared(self, options: &RedisOptions) -> Result<Self, OpenError> {
        let mut credentials = RedisConnectionInfo::default();
        if let Some(user) = &options.sentinel_username {
            credentials = credentials.set_username(user);
        }
        if let Some(password) = &options.sentinel_password {
            credentials = credentials.set_password(password);
        }
        let trusting = |info| tls::prepared(info, options.ca_file.as_deref());
        let sentinels = self
            .sentinels
            .into_iter()
            .map(|sentinel| trusting(sentinel.set_redis_settings(credentials.clone())));
        let sentinels = sentinels.collect::<Result<_, _>>()?;
        Ok(Self { sentinels, template: trusting(self.template)?, primary: self.primary })
    }

    /// Parses what follows the scheme. `scheme` is that of a single server.
    fn parse(scheme: &str, rest: &str) -> Result<Self, String> {
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(a, b)| (a, Some(b)));
        let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
        if rest.contains('?') {
            return Err(format!("has options behind a '?', which are not supported: write {FORM}"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (primary, db) = path.split_once('/').unwrap_or((path, ""));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if primary.is_empty() || !primary.bytes().all(is_name) {
            return Err(format!(
                "must have the name of the primary behind the Sentinels (letters, digits and characters of \
                 '._-', as in `sentinel monitor NAME …`): write {FORM}"
            ));
        }
        if !(db.is_empty() || db.parse::<u32>().is_ok()) {
            return Err(format!("has no number as its database: write {FORM}"));
        }
        let info = |address: String| {
            let parsed = format!("{scheme}://{address}{fragment}").into_connection_info();
            parsed.map_err(|error| format!("{error}: write {FORM}"))
        };
        let sentinels: Result<Vec<_>, _> =
            hosts.split(',').map(|host| info(with_port(host.trim())?)).collect();
        let sentinels = sentinels?;
        let at = if user.is_empty() { String::new() } else { format!("{user}@") };
        // The host stands for the primary's address.
        let template = info(format!("{at}primary/{db}"))?;
        Ok(Self { primary: primary.to_owned(), sentinels, template })
    }
}

/// Returns the address of a Sentinel with its port.
fn with_port(host: &str) -> Result<String, String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port = port.map_or(Some(PORT), |port| port.parse().ok().filter(|port| *port > 0));
    match port {
        _ if name.is_empty() => Err(format!("has a Sentinel without a host: write {FORM}")),
        None => {
            Err(format!("has no number from 1 to 65535 as the port of a Sentinel: write {FORM}"))
        }
        Some(port) => Ok(format!("{name}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> SentinelUrl {
        SentinelUrl::of(url).expect("it is about Sentinel").unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    fn addresses(url: &str) -> Vec<String> {
        parsed(url).sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect()
    }

    #[test]
    fn sentinels_credentials_and_database_are_parsed() {
        let url = parsed("redis+sentinel://me:p%40ss@a:7000, b,[::1]:7001/my-primary.1/3");
        assert_eq!(url.primary, "my-primary.1");
        let template = url.template.redis_settings();
        assert_eq!((template.username(), template.password()), (Some("me"), Some("p@ss")));
        assert_eq!(template.db(), 3);
        for sentinel in &url.sentinels {
            assert_eq!(sentinel.redis_settings().password(), None, "the primary's");
            assert_eq!(sentinel.redis_settings().db(), 0);
        }
        let with_ports = ["a:7000", "b:26379", "::1:7001"];
        assert_eq!(addresses("redis+sentinel://me:p@a:7000,b,[::1]:7001/m"), with_ports);
        assert_eq!(addresses("redis+sentinel://[::1]/m"), ["::1:26379"]);
        let tls = parsed("rediss+sentinel://a/m#insecure");
        for info in tls.sentinels.iter().chain([&tls.template]) {
            let is_tls =
                matches!(info.addr(), redis::ConnectionAddr::TcpTls { insecure: true, .. });
            assert!(is_tls, "{info:?}");
        }
    }

    #[test]
    fn other_urls_are_left_to_others() {
        for url in ["redis://sentinel:6379", "rediss://a", "unix:///sentinel", "sentinel"] {
            assert!(SentinelUrl::of(url).is_none(), "{url}");
        }
    }

    #[test]
    fn near_misses_are_refused_with_the_expected_form() {
        for (url, word) in [
            ("redis-sentinel://a/m", "scheme redis-sentinel;"),
            ("sentinel://a/m", "scheme sentinel;"),
            ("redis+sentinels://a/m", "scheme redis+sentinels;"),
            ("redis+sentinel://a:26379", "name of the primary"),
            ("redis+sentinel://:seSame@a,b/", "name of the primary"),
            ("redis+sentinel://a/my primary", "name of the primary"),
            ("redis+sentinel://:seSame@a/m/x", "database"),
            ("redis+sentinel://a/m/0/1", "database"),
            ("redis+sentinel://a?sentinelMasterId=m", "'?'"),
            ("redis+sentinel://a:99999/m", "port"),
            ("redis+sentinel://a:/m", "port"),
            ("redis+sentinel://a,,b/m", "without a host"),
            ("redis+sentinel://:seSame@/m", "without a host"),
        ] {
            let problem = SentinelUrl::of(url).expect("it is about Sentinel").unwrap_err();
            assert!(problem.contains(word) && problem.contains(FORM), "{url}: {problem}");
            assert!(!problem.contains("seSame"), "{url}: {problem}");
        }
    }
}
