//! [`Caller`], [`Submitter`] and [`Operator`]: who sends a request. A handler with such an argument
//! refuses requests whose credential does not open the route.

use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures::future::LocalBoxFuture;
use protocol::{Scope, TenantId};

use crate::auth::Access;
use crate::limit_headers::Readings;
use crate::middleware::{ClientAddress, Notes};
use crate::refusal::Refusal;
use crate::state::State;

/// The header that carries the key.
pub(crate) const KEY_HEADER: &str = "x-api-key";

/// A client that may read what its tenant owns.
#[derive(Debug)]
pub(crate) struct Caller(Arc<Access>);

impl Caller {
    /// Returns the tenant whose tasks the credential opens.
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.0.owner
    }

    /// Returns what the credential opens.
    pub(crate) fn access(&self) -> &Access {
        &self.0
    }
}

/// A [`Caller`] that may also submit, cancel and delete.
#[derive(Debug)]
pub(crate) struct Submitter {
    caller: Caller,
    /// Where the state of its limits is noted for the headers of the answer.
    pub(crate) readings: Readings,
}

impl Deref for Submitter {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// The client of a request whose credential opens the operators' routes.
#[derive(Debug)]
pub(crate) struct Operator {
    /// The client's address, for the log.
    pub(crate) client: ClientAddress,
    request: HttpRequest,
}

impl Operator {
    /// Names the act that the request asks for, and what it is done to, for the audit log. Call it before the act, so
    /// that one which fails has its line too.
    pub(crate) fn acts(&self, act: &'static str, object: impl Into<String>) {
        let mut extensions = self.request.extensions_mut();
        let notes = Notes::of(&mut extensions);
        (notes.act, notes.object) = (Some(act), Some(object.into()));
    }
}

impl FromRequest for Caller {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { client(&request, Scope::Read).await.map(Self) })
    }
}

impl FromRequest for Submitter {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = client(&request, Scope::Submit).await.map(Caller)?;
            let readings = Readings::default();
            Notes::of(&mut request.extensions_mut()).readings = Some(readings.clone());
            Ok(Self { caller, readings })
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
            let is_closed = state.is_some_and(|state| !state.auth.has_operators());
            match authenticate(&request).await {
                Ok(access) if access.has(Scope::Admin) => Ok(Self {
                    client: ClientAddress::of(request.peer_addr()),
                    request: request.clone(),
                }),
                _ if is_closed => Err(Refusal::admin_closed()),
                Ok(_) => Err(Refusal::not_operator()),
                Err(refusal) => Err(refusal),
            }
        })
    }
}

/// Returns what the request's credential opens, if it opens a tenant's tasks in this scope.
async fn client(request: &HttpRequest, scope: Scope) -> Result<Arc<Access>, Refusal> {
    let access = authenticate(request).await?;
    if access.has(scope) {
        return Ok(access);
    }
    // The operators' key belongs to no tenant.
    let refusal = match access.has(Scope::Read) {
        true => Refusal::read_only(),
        false => Refusal::invalid_key(),
    };
    Err(refusal)
}

/// Returns what the request's credential opens, and notes it for the log.
async fn authenticate(request: &HttpRequest) -> Result<Arc<Access>, Refusal> {
    let state = request.app_data::<web::Data<State>>();
    let found = match state.zip(presented_key(request.headers())) {
        Some((state, key)) => state.auth.find(key).await,
        None => Err(Refusal::invalid_key()),
    };
    let mut extensions = request.extensions_mut();
    let notes = Notes::of(&mut extensions);
    match &found {
        Ok(access) => {
            notes.key = Some(access.key.clone());
            if access.has(Scope::Read) {
                notes.tenant = Some(access.owner.clone());
            }
        }
        Err(refusal) => notes.refused = Some(refusal.code.as_str()),
    }
    found
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
