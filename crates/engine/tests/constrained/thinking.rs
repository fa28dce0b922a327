//! Models of random weights that differ in whether they think: never, if asked, always.

use std::collections::BTreeMap;

use engine::gguf::Value as Metadata;
use engine::text::AnswerStart;
use engine::{
    Constraint, Engine, EngineOptions, GenerateError, Generation, Input, Message, ModelFile,
    Request, Sampling,
};
use tempfile::TempDir;

use crate::edit::Gguf;

const TURN: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                    {{ '<|im_start|>assistant\\n' }}";

/// Maximum number of resubmits of an answer that `max_tokens` cuts off.
pub(crate) const RETRIES: u32 = 7;

/// Whether a model thinks, which its chat template decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThinkingMode {
    /// As Qwen2.5: the template has no thoughts.
    Never,
    /// As Qwen3: the model opens the thought itself, unless the template closes an empty one.
    OnRequest,
    /// As Qwen3-Thinking-2507 and QwQ: the template opens the thought.
    Always,
}

impl ThinkingMode {
    pub(crate) const ALL: [Self; 3] = [Self::Never, Self::OnRequest, Self::Always];

    pub(crate) fn template(self) -> String {
        let ending = match self {
            Self::Never => "",
            Self::OnRequest => {
                "{% if enable_thinking is defined and enable_thinking is false %}\
                 {{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
            }
            Self::Always => "{{ '<think>\\n' }}",
        };
        format!("{TURN}{ending}")
    }

    /// Where a constrained answer must begin.
    pub(crate) fn start(self, enable_thinking: Option<bool>) -> AnswerStart {
        match (self, enable_thinking) {
            (Self::OnRequest, Some(true)) => AnswerStart::BeforeReasoning,
            (Self::Always, _) => AnswerStart::InsideReasoning,
            _ => AnswerStart::AtFirstToken,
        }
    }
}

/// An engine with such a model.
pub(crate) struct Model {
    thinks: ThinkingMode,
    engine: Engine,
    /// Of each retry.
    bias: Vec<BTreeMap<u32, f32>>,
    _folder: TempDir,
}

impl Model {
    pub(crate) fn start(thinks: ThinkingMode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        let template = Metadata::String(thinks.template());
        let length = Metadata::Int(16_384);
        Gguf::fixture("qwen3/qwen3-f32")
            .with("tokenizer.chat_template", template)
            .with(".context_length", length)
            .write(&path);
        let options = EngineOptions { max_batch: 64, ..EngineOptions::default() };
        let engine = Engine::start(&ModelFile::Path(path), &options).unwrap();
        let bias = (0..=RETRIES).map(|retry| ending_bias(&engine, retry)).collect();
        Self { thinks, engine, bias, _folder: folder }
    }

    pub(crate) fn thinks(&self) -> ThinkingMode {
        self.thinks
    }

    /// Submits a request. A model of random weights may repeat itself for as long as it can, so a retry has more
    /// tokens and is sampled hotter, and every second one with a penalty on what it repeats.
    pub(crate) fn submit(
        &self,
        seed: u64,
        retry: u32,
        enable_thinking: Option<bool>,
        constraint: Constraint,
    ) -> Result<Generation, GenerateError> {
        let message = Message::user("How?");
        let max_tokens = 1_500 * (retry as usize + 1);
        let mut request = Request::greedy(Input::Chat(vec![message]), max_tokens);
        request.sampling = Sampling {
            temperature: Some(temperature(retry)),
            seed: Some(seed + (u64::from(retry) << 40)),
            logit_bias: self.bias[retry as usize].clone(),
            frequency_penalty: Some((retry % 2 * retry) as f32 / 8.0),
            ..Sampling::default()
        };
        request.chat.enable_thinking = enable_thinking;
        request.constraint = Some(constraint);
        self.engine.submit(&request)
    }

    /// Splits a text into the thought, if one had to come first, and the answer; `None` if the thought has no end.
    pub(crate) fn split<'t>(
        &self,
        text: &'t str,
        start: AnswerStart,
    ) -> Option<(&'t str, &'t str)> {
        match start {
            AnswerStart::AtFirstToken => Some(("", text)),
            AnswerStart::InsideReasoning => text.split_once("</think>"),
            AnswerStart::BeforeReasoning => text.strip_prefix("<think>")?.split_once("</think>"),
        }
    }
}

fn temperature(retry: u32) -> f32 {
    if retry == 0 { 1.0 } else { 2.0 }
}

/// Makes a model of random weights come to an end: it prefers what closes a thought, a string, an array, an
/// object or an answer.
fn ending_bias(engine: &Engine, retry: u32) -> BTreeMap<u32, f32> {
    let tokenizer = engine.tokenizer();
    let more = 0.5 * retry as f32;
    let bias = |token: u32| {
        if tokenizer.is_end(token) {
            return 5.0 + more;
        }
        match tokenizer.token_bytes(token).as_slice() {
            b"</think>" => 6.5 + more,
            // Multiples of powers of ten end in zeros.
            [b'"' | b'0', ..] => 5.0,
            [b'}' | b']', ..] => 6.0 + more,
            // A key of some schemas must contain an `ö`, which the model would hardly ever draw.
            [0xc3] | [0xb6] | [0xc3, 0xb6, ..] if retry > 0 => 5.0,
            [b',', ..] => 3.0,
            [b':' | b'n' | b't' | b'f', ..] => 1.0,
            [b'[' | b'{' | b'\\', ..] => -2.0,
            [b' ' | b'\n' | b'\t' | b'\r', ..] => -4.0,
            _ => 0.0,
        }
    };
    let tokens = 0..tokenizer.vocabulary().len() as u32;
    // The sampler adds the bias before it divides by the temperature.
    let scaled = tokens.map(|token| (token, bias(token) * temperature(retry)));
    scaled.filter(|(_, bias)| *bias != 0.0).collect()
}
