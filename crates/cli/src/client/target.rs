//! Determines the gateway and the key: from options, then the environment, then `.env`.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use service::settings::DotEnv;

/// The default gateway.
const DEFAULT_URL: &str = "http://127.0.0.1:8000";

/// The gateway, and a client's key for it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    #[command(flatten)]
    address: Address,
    /// The API key.
    #[arg(long, env = "QWEN_QUEUE_API_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// The gateway, and the operators' key for it.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminTarget {
    /// The gateway's URL, or that of its listener for /admin [default: QWEN_QUEUE_ADMIN_URL, else the listener that
    /// ADMIN_HOST and ADMIN_PORT name, else QWEN_QUEUE_URL, else http://127.0.0.1:8000].
    #[arg(long)]
    url: Option<String>,
    /// The operators' key: the gateway's ADMIN_API_KEY.
    #[arg(long, env = "ADMIN_API_KEY", hide_env_values = true)]
    admin_key: Option<String>,
}

#[derive(Debug, Clone, Args)]
struct Address {
    /// The gateway's URL [default: http://127.0.0.1:8000].
    #[arg(long, env = "QWEN_QUEUE_URL")]
    url: Option<String>,
}

/// A gateway's URL and the key for it.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(super) url: String,
    pub(super) key: String,
}

impl Target {
    pub(super) fn access(&self) -> Result<Access> {
        let option = "pass --key, or set QWEN_QUEUE_API_KEY in the environment or in .env";
        let known = Variables::of_process(Path::new(".env"));
        let url = known.or_given(self.address.url.as_deref(), "QWEN_QUEUE_URL")?;
        known.access(url, self.key.as_deref(), "QWEN_QUEUE_API_KEY", option)
    }
}

impl AdminTarget {
    pub(super) fn access(&self) -> Result<Access> {
        let option =
            "pass --admin-key, or set the gateway's ADMIN_API_KEY in the environment or in .env";
        let known = Variables::of_process(Path::new(".env"));
        let url = known.admin_url(self.url.as_deref())?;
        known.access(url, self.admin_key.as_deref(), "ADMIN_API_KEY", option)
    }
}

/// The values of options, variables of the environment and lines of `.env`, in this order of precedence. An empty
/// value counts as unset, as in the services' settings.
struct Variables<'a> {
    environment: fn(&str) -> Option<String>,
    dotenv: &'a Path,
}

impl<'a> Variables<'a> {
    fn of_process(dotenv: &'a Path) -> Self {
        Self { environment: |name| std::env::var(name).ok(), dotenv }
    }

    /// Returns an option's value, else the variable's.
    fn or_given(&self, given: Option<&str>, variable: &str) -> Result<Option<String>> {
        let is_set = |value: &String| !value.trim().is_empty();
        let found = given.map(str::to_owned).filter(is_set);
        match found.or_else(|| (self.environment)(variable).filter(is_set)) {
            Some(value) => Ok(Some(value)),
            None => Ok(DotEnv::read(self.dotenv)?.get(variable).map(str::to_owned)),
        }
    }

    /// Returns the URL of the operators' routes.
    fn admin_url(&self, given: Option<&str>) -> Result<Option<String>> {
        if let Some(url) = self.or_given(given, "QWEN_QUEUE_ADMIN_URL")? {
            return Ok(Some(url));
        }
        let Some(port) = self.or_given(None, "ADMIN_PORT")? else {
            return self.or_given(None, "QWEN_QUEUE_URL");
        };
        let host = self.or_given(None, "ADMIN_HOST")?.unwrap_or_default();
        let host = match host.trim_matches(['[', ']']) {
            "" | "0.0.0.0" | "::" => "127.0.0.1".to_owned(),
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        Ok(Some(format!("http://{host}:{}", port.trim())))
    }

    fn access(
        &self,
        url: Option<String>,
        key: Option<&str>,
        variable: &str,
        advice: &str,
    ) -> Result<Access> {
        let url = url.unwrap_or(DEFAULT_URL.to_owned());
        let Some(key) = self.or_given(key, variable)? else {
            bail!("no API key for the gateway: {advice}")
        };
        Ok(Access { url: url.trim_end_matches('/').to_owned(), key: key.trim().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: Option<&str>, key: Option<&str>, dotenv: &str) -> Result<Access> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        std::fs::write(&path, dotenv).unwrap();
        let known = Variables { environment: |_| None, dotenv: &path };
        known.access(known.admin_url(url)?, key, "ADMIN_API_KEY", "set it")
    }

    #[test]
    fn operators_find_the_listener_of_their_own() {
        for (dotenv, url) in [
            ("ADMIN_PORT=9001", "http://127.0.0.1:9001"),
            ("ADMIN_PORT=9001\nQWEN_QUEUE_URL=http://other:1", "http://127.0.0.1:9001"),
            ("ADMIN_PORT=9001\nADMIN_HOST=10.0.0.1", "http://10.0.0.1:9001"),
            ("ADMIN_PORT=9001\nADMIN_HOST=0.0.0.0", "http://127.0.0.1:9001"),
            ("ADMIN_PORT=9001\nADMIN_HOST=::1", "http://[::1]:9001"),
            ("ADMIN_PORT=9001\nADMIN_HOST=localhost", "http://localhost:9001"),
            ("ADMIN_PORT=9001\nQWEN_QUEUE_ADMIN_URL=https://far/", "https://far"),
            ("ADMIN_PORT=\nQWEN_QUEUE_URL=http://other:1", "http://other:1"),
        ] {
            assert_eq!(found(None, Some("k"), dotenv).unwrap().url, url, "{dotenv}");
        }
        assert_eq!(
            found(Some("http://it"), Some("k"), "ADMIN_PORT=9001").unwrap().url,
            "http://it"
        );
    }

    #[test]
    fn options_override_dotenv_and_dotenv_overrides_defaults() {
        let dotenv = "ADMIN_API_KEY=from-file\nQWEN_QUEUE_URL=http://file:1/\n";
        let access = found(Some("http://option:2"), Some("from-option"), dotenv).unwrap();
        assert_eq!((&*access.url, &*access.key), ("http://option:2", "from-option"));
        let access = found(None, Some(" "), dotenv).unwrap();
        assert_eq!((&*access.url, &*access.key), ("http://file:1", "from-file"));
        let access = found(None, Some("k"), "").unwrap();
        assert_eq!(access.url, DEFAULT_URL);
    }

    #[test]
    fn missing_key_and_malformed_dotenv_are_reported_without_secrets() {
        assert!(found(None, None, "ADMIN_API_KEY=\n").unwrap_err().to_string().contains("set it"));
        let error = found(None, None, "sesame open\n").unwrap_err().to_string();
        assert!(error.contains(".env") && !error.contains("sesame"), "{error}");
    }
}
