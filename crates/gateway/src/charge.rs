//! Builds the charge of a submit: which limits hold for it, and how many tokens it reserves.

use protocol::{KeyLimits, Message, Part, Prompt, TaskKind};
use queue::{Charge, Meter, MeterKind, NewBatch};
use service::settings::Rate;

use crate::auth::{Access, is_key_of};
use crate::limited::{ENDPOINT, OWNER};
use crate::options::CommonLimits;
use crate::order::Order;

/// Bytes of text that count as a token.
const BYTES_PER_TOKEN: u64 = 4;
/// Tokens that the chat template adds to a prompt.
const TEMPLATE: u64 = 16;
/// Tokens of an image.
const IMAGE: u64 = 1024;
/// Tokens of a video.
const VIDEO: u64 = 4096;

/// Returns the charge of a task that a client submits. `route` is the limit of the route that it was sent to.
pub(crate) fn of(
    access: &Access,
    common: &CommonLimits,
    route: Option<Rate>,
    order: &Order,
) -> Charge {
    let meters = meters(access, common, route);
    if meters.is_empty() {
        // The task keeps nothing of a configured key: reports of use know it by its owner.
        let is_known = is_key_of(&access.key, &access.owner);
        return Charge { key: (!is_known).then(|| access.key.clone()), ..Charge::default() };
    }
    Charge { key: Some(access.key.clone()), tokens: tokens(order), meters }
}

/// Returns the charge of a task of a batch. It counts towards the daily tokens of batches alone.
pub(crate) fn of_batch(batch: &NewBatch, common: &CommonLimits, order: &Order) -> Charge {
    let mut meters = Vec::new();
    if let (Some(key), Some(limit)) = (&batch.key, batch.tokens_per_day) {
        meters.push(Meter {
            kind: MeterKind::DailyBatchTokens,
            subject: key.as_str().to_owned(),
            limit,
        });
    }
    if let Some(limit) = common.owner.batch_tokens_per_day {
        let subject = format!("{OWNER}{}", batch.tenant);
        meters.push(Meter { kind: MeterKind::DailyBatchTokens, subject, limit });
    }
    let tokens = if meters.is_empty() { 0 } else { tokens(order) };
    Charge { key: batch.key.clone(), tokens, meters }
}

/// Returns the limits of a client's submits.
fn meters(access: &Access, common: &CommonLimits, route: Option<Rate>) -> Vec<Meter> {
    let key = access.key.as_str();
    let mut meters = Vec::new();
    add(&mut meters, &access.limits, || key.to_owned());
    add(&mut meters, &common.owner, || format!("{OWNER}{}", access.owner));
    if let Some(Rate { requests, period_s }) = route {
        let (kind, subject) = (MeterKind::Requests { period_s }, format!("{ENDPOINT}{key}"));
        meters.push(Meter { kind, subject, limit: requests });
    }
    meters
}

/// Returns all limits of a client, those of batches and routes too.
pub(crate) fn all_meters(access: &Access, common: &CommonLimits) -> Vec<Meter> {
    let mut all = meters(access, common, common.generate);
    let kind = MeterKind::DailyBatchTokens;
    let key = access.limits.batch_tokens_per_day.map(|limit| (access.key.to_string(), limit));
    let owner = common.owner.batch_tokens_per_day;
    let owner = owner.map(|limit| (format!("{OWNER}{}", access.owner), limit));
    all.extend(key.into_iter().chain(owner).map(|(subject, limit)| Meter { kind, subject, limit }));
    all
}

fn add(meters: &mut Vec<Meter>, limits: &KeyLimits, subject: impl Fn() -> String) {
    let KeyLimits {
        requests_per_minute,
        tokens_per_minute,
        max_in_flight,
        tokens_per_day,
        batch_tokens_per_day: _,
    } = *limits;
    let kinds = [
        (MeterKind::Requests { period_s: 60 }, requests_per_minute),
        (MeterKind::Tokens, tokens_per_minute),
        (MeterKind::InFlight, max_in_flight),
        (MeterKind::DailyTokens, tokens_per_day),
    ];
    let set = kinds.into_iter().filter_map(|(kind, limit)| Some((kind, limit?)));
    meters.extend(set.map(|(kind, limit)| Meter { kind, subject: subject(), limit }));
}

/// Estimates the tokens that a task may use at most: those of its prompt, and all that it may generate. What it did
/// not use is given back at its end.
fn tokens(order: &Order) -> u64 {
    match &order.kind {
        TaskKind::Count => 0,
        TaskKind::Embed { inputs, .. } => inputs.iter().map(of_prompt).sum(),
        TaskKind::Generate => {
            let tools = order.form.tools.iter().map(|tool| {
                let schema = tool.parameters.as_ref().map_or(0, |schema| schema.to_string().len());
                let description = tool.description.as_ref().map_or(0, String::len);
                of_bytes(tool.name.len() + description + schema)
            });
            of_prompt(&order.prompt)
                + tools.sum::<u64>()
                + u64::from(order.n) * u64::from(order.max_tokens)
        }
    }
}

fn of_prompt(prompt: &Prompt) -> u64 {
    match prompt {
        Prompt::Chat(messages) | Prompt::Continued(messages) => {
            TEMPLATE + messages.iter().map(of_message).sum::<u64>()
        }
        Prompt::Raw(text) => of_bytes(text.len()),
        Prompt::Tokens(tokens) => tokens.len() as u64,
    }
}

fn of_message(message: &Message) -> u64 {
    let part = |part: &Part| match part {
        Part::Reasoning { text } | Part::Text { text } | Part::ToolResult { text, .. } => {
            of_bytes(text.len())
        }
        Part::ToolCall { call } => {
            of_bytes(serde_json::to_string(call).map_or(0, |call| call.len()))
        }
        Part::Image { .. } => IMAGE,
        Part::Video { .. } => VIDEO,
    };
    message.parts.iter().map(part).sum()
}

fn of_bytes(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}
