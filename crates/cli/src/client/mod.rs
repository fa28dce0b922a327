//! Speaks the gateway's HTTP.
//!
//! [`target`] says which gateway and who asks, [`http`] carries requests and tells a refusal from
//! silence, [`tasks`] and [`admin`] are the two sides of the API, [`sse`] reads event streams.

pub(crate) mod admin;
mod http;
pub(crate) mod sse;
mod target;
mod tasks;

pub(crate) use http::ClientError;
pub(crate) use target::{AdminTarget, Target};
pub(crate) use tasks::Client;
