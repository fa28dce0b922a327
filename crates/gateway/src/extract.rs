//! [`Caller`] and [`Operator`]: who sends a request. A handler with such an argument refuses
//! requests without an accepted key.

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures::future::LocalBoxFuture;
use protocol::TenantId;

use crate::keys::{Access, KeyHash};
use crate::middleware::{ClientAddress, Notes};
use crate::refusal::Refusal;
use crate::state::State;

/// The header that carries the key.
pub(crate) const KEY_HEADER: &str = "x-api-key";

/// The tenant that owns a request's key.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) TenantId);

/// The client address of a request that carries the operators' key.
#[derive(Debug)]
pub(crate) struct Operator {
    /// The client's address, for the log.
    pub(crate) client: ClientAddress,
}

impl FromRequest for Caller {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let tenant = access(&request).await?.tenant.ok_or_else(Refusal::invalid_key)?;
            Notes::of(&mut request.extensions_mut()).tenant = Some(tenant.clone());
            Ok(Self(tenant))
        })
    }
}

impl FromRequest for Operator {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = request.app_data::<web::Data<State>>();
            if state.is_some_and(|state| !state.keys.has_operators()) {
                return Err(Refusal::admin_closed());
            }
            match access(&request).await? {
                Access { operator: true, .. } => {
                    Ok(Self { client: ClientAddress::of(request.peer_addr()) })
                }
                Access { tenant: Some(_), .. } => Err(Refusal::not_operator()),
                Access { tenant: None, .. } => Err(Refusal::invalid_key()),
            }
        })
    }
}

/// Returns what the request's key opens.
async fn access(request: &HttpRequest) -> Result<Access, Refusal> {
    let state = request.app_data::<web::Data<State>>();
    match state.zip(presented_key(request.headers())) {
        Some((state, key)) => state.keys.find(KeyHash::of(key)).await,
        None => Ok(Access::default()),
    }
}

/// Returns the key that a request carries: `X-API-Key: …`, or else `Authorization: Bearer …`.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(KEY_HEADER) {
        return value.to_str().ok();
    }
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn api_key_is_read_from_either_header() {
        assert_eq!(presented_key(&headers(&[("x-api-key", "k")])), Some("k"));
        assert_eq!(presented_key(&headers(&[("authorization", "Bearer k")])), Some("k"));
        assert_eq!(presented_key(&headers(&[("authorization", "bearer  k")])), Some("k"));
        assert_eq!(presented_key(&headers(&[("authorization", "Basic k")])), None);
        assert_eq!(presented_key(&headers(&[("authorization", "k")])), None);
        assert_eq!(presented_key(&headers(&[])), None);
        let both = headers(&[("x-api-key", "a"), ("authorization", "Bearer b")]);
        assert_eq!(presented_key(&both), Some("a"));
    }
}
