//! Provides the `ureq` agent for a URL: direct, or through the proxy that the environment names for
//! it.

use std::fmt;

use ureq::Agent;
use ureq::config::{Config, ConfigBuilder};
use ureq::typestate::AgentScope;

use crate::variables::{Scheme, Variable, Variables};
use crate::{BadProxy, address, forward};

/// The proxy of a request, for messages: `the proxy http://proxy:3128 (https_proxy)`. Never
/// contains a user or password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedProxy {
    variable: &'static str,
    shown: String,
}

impl fmt::Display for UsedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} ({})", self.shown, self.variable)
    }
}

/// Agents with a common configuration. Clones share their connections.
#[derive(Clone)]
pub struct Agents {
    variables: Variables,
    direct: Agent,
    http: Option<Route>,
    https: Option<Route>,
}

impl fmt::Debug for Agents {
    /// Omits the agents, whose configurations contain passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agents").field(&self.variables).finish()
    }
}

/// An agent that uses a proxy, or the problem with the proxy's address.
type Route = Result<(Agent, UsedProxy), BadProxy>;

impl Agents {
    /// Creates agents that differ only in their proxies.
    pub fn new(
        variables: Variables,
        configure: impl Fn(ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope>,
    ) -> Self {
        let direct = || configure(Agent::config_builder()).proxy(None);
        let route = |variable: &Option<Variable>, scheme| {
            let variable = variable.as_ref()?;
            Some(through(variable, scheme, direct()))
        };
        Self {
            direct: direct().build().into(),
            http: route(&variables.http, Scheme::Http),
            https: route(&variables.https, Scheme::Https),
            variables,
        }
    }

    /// Returns the agent for requests to `url`, and its proxy, if any.
    ///
    /// # Errors
    /// If the variable that applies to the URL is not a valid proxy address.
    pub fn for_url(&self, url: &str) -> Result<(&Agent, Option<&UsedProxy>), BadProxy> {
        let (scheme, host) = scheme_and_host(url);
        let route = match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        match (self.variables.for_host(scheme, host), route) {
            (Some(_), Some(Ok((agent, via)))) => Ok((agent, Some(via))),
            (Some(_), Some(Err(error))) => Err(error.clone()),
            _ => Ok((&self.direct, None)),
        }
    }
}

fn through(variable: &Variable, scheme: Scheme, config: ConfigBuilder<AgentScope>) -> Route {
    let bad = |what| BadProxy { variable: variable.name, what };
    let address = address::read(&variable.value).map_err(bad)?;
    let via = UsedProxy { variable: variable.name, shown: address.shown.clone() };
    let agent = if scheme == Scheme::Http && address.is_plain_http() {
        let config: Config = config.build();
        forward::agent(config, &address).ok_or_else(|| bad("it is not an address".to_owned()))?
    } else {
        config.proxy(Some(address.proxy)).build().into()
    };
    Ok((agent, via))
}

/// Returns the scheme (http by default) and the host of a URL, an IPv6 host with its brackets.
fn scheme_and_host(url: &str) -> (Scheme, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let host = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => address,
    };
    (if scheme.eq_ignore_ascii_case("https") { Scheme::Https } else { Scheme::Http }, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(environment: &[(&str, &str)], url: &str) -> Result<String, BadProxy> {
        let get = |name: &str| {
            environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        let agents = Agents::new(Variables::of(get), |config| config);
        Ok(agents.for_url(url)?.1.map_or_else(|| "direct".to_owned(), UsedProxy::to_string))
    }

    #[test]
    fn an_invalid_proxy_fails_only_requests_that_would_use_it() {
        let environment = [("https_proxy", "ftp://seSame@x"), ("no_proxy", "b")];
        assert_eq!(via(&environment, "http://a:1/x").unwrap(), "direct");
        assert_eq!(via(&environment, "https://b").unwrap(), "direct");
        let error = via(&environment, "https://a").unwrap_err().to_string();
        assert!(error.starts_with("https_proxy is not") && !error.contains("seSame"), "{error}");
    }

    #[test]
    fn proxies_are_displayed_without_their_password() {
        let environment = [("ALL_PROXY", "http://user:seSame@p:3128")];
        let shown = "the proxy http://p:3128 (ALL_PROXY)";
        assert_eq!(via(&environment, "https://u:p@[::1]:8000/x@y").unwrap(), shown);
        let get = |name: &str| {
            (!name.eq_ignore_ascii_case("no_proxy")).then(|| "http://u:seSame@p".to_owned())
        };
        let agents = Agents::new(Variables::of(get), |config| config);
        assert!(!format!("{agents:?}").contains("seSame"), "{agents:?}");
    }
}
