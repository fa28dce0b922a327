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
    #[command(flatten)]
    address: Address,
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
        access(&self.address, self.key.as_deref(), "QWEN_QUEUE_API_KEY", option, Path::new(".env"))
    }
}

impl AdminTarget {
    pub(super) fn access(&self) -> Result<Access> {
        let option =
            "pass --admin-key, or set the gateway's ADMIN_API_KEY in the environment or in .env";
        access(&self.address, self.admin_key.as_deref(), "ADMIN_API_KEY", option, Path::new(".env"))
    }
}

fn access(
    address: &Address,
    key: Option<&str>,
    variable: &str,
    advice: &str,
    dotenv: &Path,
) -> Result<Access> {
    // An empty value counts as unset, as in the services' settings.
    let given = |value: Option<&str>| value.filter(|v| !v.trim().is_empty()).map(str::to_owned);
    let find = |value: Option<&str>, variable: &str| -> Result<Option<String>> {
        match given(value) {
            Some(value) => Ok(Some(value)),
            None => Ok(DotEnv::read(dotenv)?.get(variable).map(str::to_owned)),
        }
    };
    let url = find(address.url.as_deref(), "QWEN_QUEUE_URL")?.unwrap_or(DEFAULT_URL.to_owned());
    let Some(key) = find(key, variable)? else { bail!("no API key for the gateway: {advice}") };
    Ok(Access { url: url.trim_end_matches('/').to_owned(), key: key.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: Option<&str>, key: Option<&str>, dotenv: &str) -> Result<Access> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        std::fs::write(&path, dotenv).unwrap();
        let address = Address { url: url.map(str::to_owned) };
        access(&address, key, "ADMIN_API_KEY", "set it", &path)
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
