//! Reads the environment variables that curl reads, in its order of precedence.

use crate::exempt;

/// The target's scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// The proxy variables of the environment. An empty variable counts as unset.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    pub(crate) http: Option<Variable>,
    pub(crate) https: Option<Variable>,
    exempt: String,
}

/// A variable that is set.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// May contain a password.
    pub(crate) value: String,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

impl Variables {
    /// Reads the environment of this process.
    pub fn from_env() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// Reads variables through `get`.
    pub fn of(get: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = get(name).filter(|value| !value.is_empty())?;
                Some(Variable { name, value })
            })
        };
        Self {
            // HTTP_PROXY is ignored, because the client of a CGI program can set it with a `Proxy`
            // header.
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            exempt: first(&["no_proxy", "NO_PROXY"]).map_or_else(String::new, |list| list.value),
        }
    }

    /// Returns the variable that names the proxy for `host`, or `None` if requests go to it
    /// directly.
    pub(crate) fn for_host(&self, scheme: Scheme, host: &str) -> Option<&Variable> {
        let variable = match scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        };
        variable.filter(|_| !exempt::is_exempt(host, &self.exempt))
    }
}
