//! Extracts [`Caller`] and [`Operator`] from requests, and rejects requests without an accepted
//! key.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use crate::auth::{Caller, Operator, presented_key};
use crate::error::ApiError;
use crate::middleware::{ClientAddress, Notes};
use crate::state::State;

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let tenant = request
            .app_data::<web::Data<State>>()
            .zip(presented_key(request.headers()))
            .and_then(|(state, key)| state.doors.now().clients.tenant(key));
        ready(match tenant {
            Some(tenant) => {
                Notes::of(&mut request.extensions_mut()).tenant = Some(tenant.clone());
                Ok(Self(tenant))
            }
            None => Err(ApiError::Unauthorized),
        })
    }
}

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(state) = request.app_data::<web::Data<State>>() else {
            return ready(Err(ApiError::Unauthorized));
        };
        let rings = state.doors.now();
        let Some(operators) = &rings.operators else {
            return ready(Err(ApiError::AdminClosed));
        };
        let shown = presented_key(request.headers());
        // Looks the key up in both rings in any case, so that the time taken reveals nothing about
        // the key.
        let is_operator = shown.is_some_and(|key| operators.tenant(key).is_some());
        let is_tenant = shown.is_some_and(|key| rings.clients.tenant(key).is_some());
        ready(match (is_operator, is_tenant) {
            (true, _) => Ok(Self { client: ClientAddress::of(request.peer_addr()) }),
            (false, true) => Err(ApiError::NotOperator),
            (false, false) => Err(ApiError::Unauthorized),
        })
    }
}
