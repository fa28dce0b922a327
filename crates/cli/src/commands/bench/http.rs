//! `bench http`: runs the load generator on any server, to measure other queues in the same way.

use std::net::ToSocketAddrs;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::load::{self, Target};
use super::spread::Spread;
use crate::output::Output;

/// The server and the request.
#[derive(Debug, Args)]
pub(crate) struct HttpBench {
    /// Host and port of the server.
    #[arg(long)]
    address: String,
    /// Path to request.
    #[arg(long)]
    path: String,
    /// JSON to POST. Without it, GET.
    #[arg(long)]
    body: Option<String>,
    /// A header, as `Name: value`; may be repeated.
    #[arg(long)]
    header: Vec<String>,
    /// Keep-alive connections, each with one request in flight.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Duration in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The status that every response must have.
    #[arg(long, default_value_t = 202)]
    expect: u16,
}

/// Measures and prints one line of JSON.
pub(super) fn run(args: &HttpBench) -> Result<()> {
    let address = args.address.to_socket_addrs().ok().and_then(|mut all| all.next());
    let address =
        address.with_context(|| format!("'{}' is not host:port of a known host", args.address))?;
    let target = Target { address, headers: args.header.clone() };
    let method = if args.body.is_some() { "POST" } else { "GET" };
    let request = target.request(method, &args.path, args.body.as_deref());
    let span = Duration::from_secs(args.seconds);
    let replies = load::repeat(&target, args.connections, span, None, request)?;
    load::expect(&replies, args.expect)?;
    let latency = Spread::of(replies.iter().map(|reply| reply.took));
    let rate = load::rate(&replies);
    let figures = json!({ "requests": replies.len(), "per_second": rate, "latency": latency });
    Ok(Output::standard().line(&figures.to_string())?)
}
