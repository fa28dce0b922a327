//! [`Caller`], [`Submitter`] and [`Operator`]: who sends a request. A handler with such an argument
//! refuses requests whose credential does not open the route.

use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures::future::LocalBoxFuture;
use protocol::{Reuse, Scope, TenantId, TraceContext};

use crate::auth::{Access, Credential, Denied};
use crate::limit_headers::Readings;
use crate::middleware::{ClientAddress, Notes, RequestTrace};
use crate::refusal::Refusal;
use crate::reuse;
use crate::state::State;

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
    /// The span of the request, of which its tasks are a part.
    pub(crate) trace: Option<TraceContext>,
    /// Whether the answers of its tasks may come from the result cache.
    pub(crate) reuse: Reuse,
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
            let trace = RequestTrace::of_tasks(&request);
            let reuse = reuse::asked(request.headers());
            Ok(Self { caller, readings, trace, reuse })
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
                Ok(access) if access.has(Scope::Admin) => {
                    Ok(Self { client: ClientAddress::of(&request), request: request.clone() })
                }
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

/// Returns what the request's credential opens, and notes it for the log. Long requests find its [`Pass`] in the
/// request's extensions.
async fn authenticate(request: &HttpRequest) -> Result<Arc<Access>, Refusal> {
    let state = request.app_data::<web::Data<State>>();
    let address = ClientAddress::of(request);
    let admitted = match (state, Credential::of(request.headers(), request.query_string())) {
        (Some(state), Ok(Some(credential))) => state.auth.admit(credential, address.ip()).await,
        (_, Ok(_)) => Err(Denied::Missing),
        (_, Err(denied)) => Err(denied),
    };
    let mut extensions = request.extensions_mut();
    let notes = Notes::of(&mut extensions);
    match admitted {
        Ok(pass) => {
            let access = Arc::clone(pass.access());
            notes.key = Some(access.key.clone());
            if access.has(Scope::Read) {
                notes.tenant = Some(access.owner.clone());
            }
            extensions.insert(Arc::new(pass));
            Ok(access)
        }
        Err(denied) => {
            notes.refused = Some(denied.as_str());
            Err(denied.into())
        }
    }
}
