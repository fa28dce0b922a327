//! `GET /v1/usage`: what the caller's owner used, and what is left of its limits.

use actix_web::{HttpRequest, HttpResponse, web};
use queue::{MeterKind, Reading};
use serde_json::{Value, json};

use crate::charge;
use crate::extract::Caller;
use crate::limited::{ENDPOINT, OWNER};
use crate::operators::Group;
use crate::refusal::Refusal;
use crate::state::State;
use crate::usage::Asked;

/// Reports the use of the caller's owner, all keys together, and the state of the limits of this key.
pub(super) async fn usage(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let access = caller.access();
    let asked = Asked::read(&request, Some(access.owner.clone()), Group::Day)?;
    let rows = state.ask(state.broker.usage(&asked.query)).await?;
    let meters = charge::all_meters(access, &state.options.common_limits);
    let readings = match meters.is_empty() {
        true => Vec::new(),
        false => state.ask(state.broker.readings(&access.owner, &meters)).await?,
    };
    let mut report = json!(asked.report(&rows));
    report["object"] = json!("usage");
    report["limits"] = readings.iter().map(limit).collect();
    Ok(HttpResponse::Ok().json(report))
}

fn limit(reading: &Reading) -> Value {
    let meter = &reading.meter;
    let kind = match meter.kind {
        MeterKind::Requests { period_s: 1 } => "requests_per_second",
        MeterKind::Requests { period_s: 3_600 } => "requests_per_hour",
        MeterKind::Requests { period_s: 86_400 } => "requests_per_day",
        MeterKind::Requests { .. } => "requests_per_minute",
        MeterKind::Tokens => "tokens_per_minute",
        MeterKind::InFlight => "in_flight",
        MeterKind::DailyTokens => "tokens_per_day",
        MeterKind::DailyBatchTokens => "batch_tokens_per_day",
    };
    let of = match &*meter.subject {
        subject if subject.starts_with(OWNER) => "owner",
        subject if subject.starts_with(ENDPOINT) => "route",
        _ => "key",
    };
    json!({
        "kind": kind,
        "of": of,
        "limit": meter.limit,
        "remaining": reading.remaining,
        "reset_s": reading.reset.as_secs_f64(),
        "reserved": reading.reserved,
    })
}
