//! HTTP clients of the gateway.
//!
//! [`target`] determines the gateway and the key, [`http`] sends requests and distinguishes
//! rejections from network failures, [`tasks`] and [`admin`] implement the two parts of the API,
//! [`sse`] reads event streams.

pub(crate) mod admin;
#[cfg(test)]
pub(crate) mod fake;
mod http;
pub(crate) mod sse;
mod target;
mod tasks;

pub(crate) use http::ClientError;
pub(crate) use target::{AdminTarget, Target};
pub(crate) use tasks::Client;
