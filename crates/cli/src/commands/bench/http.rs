//! `bench http`: the load generator on any server, so that other queues are measured by the same hand.

use std::net::ToSocketAddrs;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::load::{self, Target};
use super::spread::Spread;
use crate::output::Output;

/// What to send where.
#[derive(Debug, Args)]
pub(crate) struct HttpBench {
    /// Host and port.
    #[arg(long)]
    address: String,
    /// Path.
    #[arg(long)]
    path: String,
    /// JSON to POST; without it GET.
    #[arg(long)]
    body: Option<String>,
    /// A header, as `Name: value`; may be repeated.
    #[arg(long)]
    header: Vec<String>,
    /// Keep-alive connections, each with one request in flight.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How long.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The status that every answer must have.
    #[arg(long, default_value_t = 202)]
    expect: u16,
}

/// Measures and prints one line of JSON.
pub(super) fn run(args: &HttpBench) -> Result<()> {
    let address = args.address.to_socket_addrs().ok().and_then(|mut all| all.next());
    let address = address.with_context(|| format!("'{}' is no host:port", args.address))?;
    let target = Target { address, headers: args.header.clone() };
    let method = if args.body.is_some() { "POST" } else { "GET" };
    let request = target.request(method, &args.path, args.body.as_deref());
    let span = Duration::from_secs(args.seconds);
    let shots = load::repeat(&target, args.connections, span, None, request)?;
    load::expect(&shots, args.expect)?;
    let latency = Spread::of(shots.iter().map(|shot| shot.took));
    let rate = load::rate(&shots);
    let figures = json!({ "requests": shots.len(), "per_second": rate, "latency": latency });
    Ok(Output::standard().line(&figures.to_string())?)
}
