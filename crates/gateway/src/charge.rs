//! Builds the charge of a submit: which limits hold for it, and how many tokens it reserves.

use std::sync::Arc;

use protocol::{KeyLimits, Message, Part, Prompt, TaskKind};
use queue::{Charge, Meter, MeterKind, NewBatch, Payer};
use service::settings::Rate;

use crate::auth::{Access, is_key_of};
use crate::limited::{ENDPOINT, OWNER};
use crate::options::{CommonLimits, Options};
use crate::order::{ImageRules, Order};

/// Bytes of text that count as a token.
const BYTES_PER_TOKEN: u64 = 4;
/// Tokens that the chat template adds to a prompt.
const TEMPLATE: u64 = 16;
/// The fewest tokens of an image: models enlarge smaller ones.
const MIN_IMAGE: u64 = 64;
/// Pixels of a token. The families have 28 × 28 or 32 × 32: the smaller, since it gives more tokens.
const TOKEN_PIXELS: u64 = 28 * 28;

/// Returns the charge of a task that a client submits. `route` is the limit of the route that it was sent to.
pub(crate) fn of(access: &Access, options: &Options, route: Option<Rate>, order: &Order) -> Charge {
    let payer = access.payer(route, || payer(access, &options.common_limits, route));
    let tokens = if payer.meters().is_empty() { 0 } else { tokens(order, &options.images) };
    Charge { payer, tokens }
}

fn payer(access: &Access, common: &CommonLimits, route: Option<Rate>) -> Payer {
    let meters = meters(access, common, route);
    // Without limits, the task keeps nothing of a configured key: reports of use know it by its owner.
    let is_known = meters.is_empty() && is_key_of(&access.key, &access.owner);
    Payer::new((!is_known).then(|| access.key.clone()), meters)
}

/// Returns the charge of a task of a batch. It counts towards the daily tokens of batches alone.
pub(crate) fn of_batch(batch: &NewBatch, options: &Options, order: &Order) -> Charge {
    let mut meters = Vec::new();
    if let (Some(key), Some(limit)) = (&batch.key, batch.tokens_per_day) {
        meters.push(Meter {
            kind: MeterKind::DailyBatchTokens,
            subject: key.as_str().into(),
            limit,
        });
    }
    if let Some(limit) = options.common_limits.owner.batch_tokens_per_day {
        let subject = format!("{OWNER}{}", batch.tenant).into();
        meters.push(Meter { kind: MeterKind::DailyBatchTokens, subject, limit });
    }
    let tokens = if meters.is_empty() { 0 } else { tokens(order, &options.images) };
    Charge { payer: Payer::new(batch.key.clone(), meters), tokens }
}

/// Returns the limits of a client's submits.
fn meters(access: &Access, common: &CommonLimits, route: Option<Rate>) -> Vec<Meter> {
    let key = access.key.as_str();
    let mut meters = Vec::new();
    add(&mut meters, &access.limits, key);
    add(&mut meters, &common.owner, &format!("{OWNER}{}", access.owner));
    if let Some(Rate { requests, period_s }) = route {
        let (kind, subject) = (MeterKind::Requests { period_s }, format!("{ENDPOINT}{key}").into());
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
    all.extend(key.into_iter().chain(owner).map(|(subject, limit)| Meter {
        kind,
        subject: subject.into(),
        limit,
    }));
    all
}

fn add(meters: &mut Vec<Meter>, limits: &KeyLimits, subject: &str) {
    let subject: Arc<str> = subject.into();
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
    meters.extend(set.map(|(kind, limit)| Meter { kind, subject: Arc::clone(&subject), limit }));
}

/// Estimates the tokens that a task may use at most: those of its prompt, and all that it may generate. What it did
/// not use is given back at its end.
fn tokens(order: &Order, rules: &ImageRules) -> u64 {
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
                + of_images(order, rules)
                + of_videos(order, rules)
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
        Prompt::Raw(text) | Prompt::RawImages { text, .. } => of_bytes(text.len()),
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
        Part::Image { .. } | Part::Video { .. } => 0, // see `tokens`
    };
    message.parts.iter().map(part).sum()
}

/// Estimates the tokens of all images: from their sizes, if they were read, and else the most that workers allow.
fn of_images(order: &Order, rules: &ImageRules) -> u64 {
    let limit = rules.max_tokens as u64;
    let sizes = &order.images.sizes;
    let most = order.pixels.max.unwrap_or(u64::MAX);
    let least = order.pixels.min.unwrap_or(0);
    let known = sizes.iter().map(|(width, height)| {
        let pixels = (u64::from(*width) * u64::from(*height)).max(least).min(most);
        pixels.div_ceil(TOKEN_PIXELS).max(MIN_IMAGE).min(limit)
    });
    let unknown = order.prompt.images().saturating_sub(sizes.len()) as u64;
    known.sum::<u64>() + unknown * limit
}

/// Estimates the tokens of all videos: the most that workers allow, since their sizes are not read.
fn of_videos(order: &Order, rules: &ImageRules) -> u64 {
    let count = order.prompt.visuals().len() - order.prompt.images();
    (count * rules.max_video_tokens) as u64
}

fn of_bytes(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use protocol::{ModelId, PixelLimits, Role, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::validate::{Limits, generate};

    /// Returns a request for `x`.
    fn order() -> Order {
        let demo = ModelId::new("demo");
        let limits = Limits {
            max_prompt_bytes: 100,
            max_new_tokens: 100,
            default_model: &demo,
            other_models: &[],
            max_time_limit_s: 1,
            max_result_ttl_s: 1,
            max_attempts: 1,
            webhooks: webhooks::Guard { allow_private: false },
            images: Default::default(),
            now: Timestamp::from_millis(0),
        };
        generate(&json!({"prompt": "x"}), &limits).unwrap()
    }

    /// Returns the tokens that images of these sizes add to a prompt.
    fn of_sizes(sizes: &[(u32, u32)], pixels: PixelLimits, rules: &ImageRules) -> u64 {
        let mut order = order();
        let before = tokens(&order, rules);
        order.images.sizes = sizes.to_vec();
        order.pixels = pixels;
        tokens(&order, rules) - before
    }

    #[test]
    fn images_count_by_their_area() {
        let any = PixelLimits::default();
        let of_sizes = |sizes: &[_], pixels| of_sizes(sizes, pixels, &ImageRules::default());
        assert_eq!(of_sizes(&[], any), 0);
        assert_eq!(of_sizes(&[(560, 280)], any), 200);
        assert_eq!(of_sizes(&[(560, 280), (1, 1)], any), 264, "small ones are enlarged");
        assert_eq!(of_sizes(&[(8000, 8000)], any), 1024, "large ones are reduced");
        let limits = PixelLimits { min: None, max: Some(100 * TOKEN_PIXELS) };
        assert_eq!(of_sizes(&[(8000, 8000)], limits), 100);
        let limits = PixelLimits { min: Some(100 * TOKEN_PIXELS), max: None };
        assert_eq!(of_sizes(&[(1, 1)], limits), 100);
    }

    #[test]
    fn images_and_videos_count_at_most_what_workers_allow() {
        let rules = ImageRules { max_tokens: 50, max_video_tokens: 300, ..ImageRules::default() };
        assert_eq!(of_sizes(&[(8000, 8000), (1, 1)], PixelLimits::default(), &rules), 100);
        let mut order = order();
        let of = |parts: &[Part]| {
            let parts = parts.to_vec();
            Prompt::Chat(vec![Message { role: Role::User, parts, name: None }])
        };
        order.prompt = of(&[]);
        let before = tokens(&order, &rules);
        let (image, video) = (Part::Image { blob: "0".into() }, Part::Video { blob: "1".into() });
        order.prompt = of(&[image, video.clone(), video]);
        assert_eq!(tokens(&order, &rules) - before, 50 + 2 * 300);
    }
}
