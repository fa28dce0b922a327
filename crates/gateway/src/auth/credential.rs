//! [`Credential`]: the text that a request authenticates with, and the rules for where it may be.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};

use super::denied::Denied;

/// The header that carries a key.
pub(crate) const KEY_HEADER: &str = "x-api-key";
/// Maximum length of a credential, in bytes.
const MAX_LENGTH: usize = 8 * 1024;
/// Parameters in which clients of other services put their key. A URL is logged by proxies and kept in histories.
const URL_NAMES: [&str; 10] = [
    "api_key",
    "api-key",
    "apikey",
    "x-api-key",
    "key",
    "token",
    "access_token",
    "auth_token",
    "authorization",
    "bearer",
];

/// The text that a request authenticates with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credential<'a> {
    /// The text.
    pub(super) text: &'a str,
    /// Whether it came as `Authorization: Bearer …`, where alone a token may be.
    pub(super) is_bearer: bool,
}

impl<'a> Credential<'a> {
    /// Reads the credential of a request: `X-API-Key: …` or `Authorization: Bearer …`. Other schemes are ignored.
    /// `None` if there is none.
    pub(crate) fn of(headers: &'a HeaderMap, query: &str) -> Result<Option<Self>, Denied> {
        if let Some(name) = key_in_url(query) {
            return Err(Denied::InUrl(name));
        }
        let key = only(headers, &HeaderName::from_static(KEY_HEADER), "X-API-Key")?;
        let bearer = only(headers, &AUTHORIZATION, "Authorization")?.and_then(bearer);
        let text = match (key, bearer) {
            (Some(key), Some(bearer)) if key != bearer => return Err(Denied::Contradictory),
            (key, bearer) => bearer.or(key),
        };
        match text {
            Some(text) if text.len() > MAX_LENGTH => Err(Denied::Unknown),
            text => Ok(text
                .filter(|text| !text.is_empty())
                .map(|text| Self { text, is_bearer: bearer.is_some() })),
        }
    }
}

/// Returns the value of a header that may come once.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a str>, Denied> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Denied::Repeated(shown)),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Denied::Unknown),
        (None, None) => Ok(None),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, text) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
}

/// Returns the name of a query parameter that carries a key.
fn key_in_url(query: &str) -> Option<&'static str> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let name = URL_NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name));
        name.filter(|_| !value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn text(pairs: &[(&'static str, &'static str)]) -> Result<Option<String>, Denied> {
        let headers = headers(pairs);
        Ok(Credential::of(&headers, "")?.map(|credential| credential.text.to_owned()))
    }

    #[test]
    fn a_key_is_read_from_either_header() {
        let k = || Some("k".to_owned());
        assert_eq!(text(&[("x-api-key", "k")]), Ok(k()));
        assert_eq!(text(&[("authorization", "Bearer k")]), Ok(k()));
        assert_eq!(text(&[("authorization", "bearer  k")]), Ok(k()));
        assert_eq!(text(&[("x-api-key", "k"), ("authorization", "Bearer k")]), Ok(k()));
        assert_eq!(text(&[("x-api-key", "k"), ("authorization", "Basic a")]), Ok(k()));
        for none in
            [&[("authorization", "Basic k")], &[("authorization", "k")], &[("x-api-key", "")]]
        {
            assert_eq!(text(none), Ok(None), "{none:?}");
        }
        assert_eq!(text(&[]), Ok(None));
    }

    #[test]
    fn two_credentials_are_refused() {
        let both = [("x-api-key", "a"), ("authorization", "Bearer b")];
        assert_eq!(text(&both), Err(Denied::Contradictory));
        let twice = [("x-api-key", "a"), ("x-api-key", "a")];
        assert_eq!(text(&twice), Err(Denied::Repeated("X-API-Key")));
        let twice = [("authorization", "Bearer a"), ("authorization", "Basic b")];
        assert_eq!(text(&twice), Err(Denied::Repeated("Authorization")));
    }

    #[test]
    fn a_key_in_the_url_is_refused() {
        let headers = headers(&[("x-api-key", "k")]);
        for (query, name) in [
            ("api_key=k", Some("api_key")),
            ("wait=3&Token=k", Some("token")),
            ("access_token=k", Some("access_token")),
            ("key=k", Some("key")),
            ("Authorization=Bearer%20k", Some("authorization")),
            ("key=&wait=3", None),
            ("monkey=1&tokens=2&wait", None),
        ] {
            let read = Credential::of(&headers, query);
            assert_eq!(read.err(), name.map(Denied::InUrl), "{query}");
        }
    }

    #[test]
    fn a_very_long_credential_is_refused_unread() {
        let mut headers = HeaderMap::new();
        let long = HeaderValue::from_str(&"k".repeat(MAX_LENGTH + 1)).unwrap();
        headers.insert(HeaderName::from_static(KEY_HEADER), long);
        assert_eq!(Credential::of(&headers, ""), Err(Denied::Unknown));
    }
}
