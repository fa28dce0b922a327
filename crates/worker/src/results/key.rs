//! The key of an answer: a hash of all that determines it. Pure.

use std::collections::HashMap;

use chat::{Part, Sampling};
use engine::content::ContentHashes;
use protocol::{AnswerForm, PixelLimits, Prompt, Task, TenantId};
use queue::ContentHash;
use serde::Serialize;

/// What determines an answer beside its task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// The files of the model and its adapters.
    pub(crate) files: &'a ContentHashes,
    /// The adapter that the task uses.
    pub(crate) adapter: Option<&'a str>,
    /// What the model's authors recommend.
    pub(crate) recommended: &'a Sampling,
    /// The format that safetensors were loaded into, the context, and the most tokens of an image and of a video.
    pub(crate) loaded: (&'a str, usize, usize, usize),
}

#[derive(Serialize)]
struct Determinants<'a> {
    version: &'static str,
    tenant: &'a TenantId,
    model: String,
    adapter: Option<String>,
    loaded: (&'a str, usize, usize, usize),
    prompt: Prompt,
    pixels: &'a PixelLimits,
    n: u8,
    max_tokens: u32,
    stop: &'a [String],
    sampling: Sampling,
    form: &'a AnswerForm,
}

/// Returns the key of a task's answer. `visuals` are the hashes of its images and videos by the names of their blobs.
/// `None` if one of them or the adapter is not known.
pub(super) fn of(
    task: &Task,
    setting: Setting<'_>,
    visuals: &HashMap<String, ContentHash>,
) -> Option<ContentHash> {
    // Names every field, so that a new one must be considered.
    let Task {
        id: _,
        tenant,
        model: _, // `files` say what it is
        lane: _,
        kind: _, // only generations have a key
        prompt,
        pixels,
        n: _,
        max_tokens,
        stop,
        sampling,
        form,
        time_limit_s: _, // an answer that it cut is not stored
        result_ttl_s: _,
        max_attempts: _,
        retry_backoff_s: _,
        user_id: _,
        metadata: _,
        webhook: _,
        skill: _, // reads the answer anew
        reuse: _,
        trace: _,
    } = task;
    let adapter = match setting.adapter {
        Some(name) => Some(ContentHash(*setting.files.adapters.get(name)?).to_string()),
        None => None,
    };
    let determinants = Determinants {
        version: env!("CARGO_PKG_VERSION"),
        tenant,
        model: ContentHash(setting.files.base).to_string(),
        adapter,
        loaded: setting.loaded,
        prompt: named_by_content(prompt, visuals)?,
        pixels,
        n: task.choices(),
        max_tokens: *max_tokens,
        stop,
        sampling: sampling.resolved(setting.recommended),
        form,
    };
    Some(ContentHash::of(&serde_json::to_vec(&determinants).ok()?))
}

/// Returns the prompt with the hashes of images and videos in place of their names, since each upload has another name.
fn named_by_content(prompt: &Prompt, visuals: &HashMap<String, ContentHash>) -> Option<Prompt> {
    let mut prompt = prompt.clone();
    let name = |blob: &mut String| {
        *blob = visuals.get(blob)?.to_string();
        Some(())
    };
    match &mut prompt {
        Prompt::Chat(messages) | Prompt::Continued(messages) => {
            for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
                if let Part::Image { blob } | Part::Video { blob } = part {
                    name(blob)?;
                }
            }
        }
        Prompt::RawImages { images, .. } => images.iter_mut().try_for_each(name)?,
        Prompt::Raw(_) | Prompt::Tokens(_) => {}
    }
    Some(prompt)
}

#[cfg(test)]
mod tests;
