//! Converts between the queue's and the engine's types. Pure.

use std::time::Instant;

use chat::{FinishReason, Logprobs, Part, Sampling, Tool};
use engine::api::{EmbedRequest, GenerateError, Input, Request, StopReason};
use engine::text::{
    AnswerFormat, AnswerStart, ChatOptions, TemplateValue, Tokenizer, template_value,
};
use engine::vision::{Family, Visual};
use protocol::{
    AnswerForm, Choice, ErrorType, Lane, Prompt, Task, TaskError, TaskKind, VisionFamily,
};
use serde_json::json;

/// Returns the family by which an engine sees, if it takes images.
pub(crate) const fn family(family: Family) -> VisionFamily {
    match family {
        Family::Qwen2Vl => VisionFamily::Qwen2Vl,
        Family::Qwen25Vl => VisionFamily::Qwen25Vl,
        Family::Qwen3Vl => VisionFamily::Qwen3Vl,
    }
}

/// Checks that the task's model computes what the task asks for. `embedding_length` is the length of the model's
/// embeddings, or `None` if it generates text; `sees` is whether it takes images.
///
/// # Errors
/// If it does not.
pub(crate) fn check_kind(
    task: &Task,
    embedding_length: Option<usize>,
    sees: bool,
) -> Result<(), TaskError> {
    let model = &task.model;
    let (param, problem) = match (&task.kind, embedding_length) {
        (TaskKind::Generate | TaskKind::Count, None)
            if sees || task.prompt.visuals().is_empty() =>
        {
            return Ok(());
        }
        (TaskKind::Generate | TaskKind::Count, None) => (
            "model",
            format!(
                "the model {model} takes no images: send text, choose a model that sees, or have the operator put \
                 its projector (mmproj) beside it, if it has one"
            ),
        ),
        (TaskKind::Generate | TaskKind::Count, Some(_)) => (
            "model",
            format!(
                "the model {model} makes embeddings and generates no text: choose another model, or ask it for \
                 embeddings"
            ),
        ),
        (TaskKind::Embed { .. }, None) => (
            "model",
            format!(
                "the model {model} generates text and makes no embeddings: choose an embedding model, such as \
                 Qwen3-Embedding"
            ),
        ),
        (TaskKind::Embed { inputs, .. }, Some(_))
            if inputs.iter().any(|it| !it.visuals().is_empty()) =>
        {
            ("input", "images are not embedded: send text".to_owned())
        }
        (TaskKind::Embed { dimensions, .. }, Some(length)) => match dimensions {
            Some(given) if !(1..=length).contains(&(*given as usize)) => {
                ("dimensions", format!("dimensions is {given}; set it from 1 to {length}"))
            }
            _ => return Ok(()),
        },
    };
    Err(TaskError::new(ErrorType::InvalidRequest, problem).about(param))
}

/// Returns the most sequences that a task has at once in an engine that runs `capacity`. Inputs to embed take at most
/// half of it, so that many inputs leave room for other tasks.
pub(crate) fn sequences(task: &Task, capacity: usize) -> usize {
    match &task.kind {
        TaskKind::Generate => task.choices().into(),
        TaskKind::Count => 0,
        TaskKind::Embed { inputs, .. } => inputs.len().min(capacity.div_ceil(2)),
    }
}

/// Creates the engine's request for an answer to `task`, of which `choice` is the index, with the images and
/// videos of its prompt.
/// It must end by `deadline`, and its model's authors recommend these sampling parameters.
pub(crate) fn request(
    task: &Task,
    choice: u8,
    images: Vec<Visual>,
    recommended: &Sampling,
    deadline: Instant,
) -> Request {
    let seed = Some(seed(task, choice));
    let input = match (input(&task.prompt), images.is_empty()) {
        (input, true) => input,
        (prompt, false) => Input::Images { prompt: Box::new(prompt), images },
    };
    Request {
        input,
        adapter: None,
        sampling: Sampling { seed, ..task.sampling.resolved(recommended) },
        max_tokens: task.max_tokens as usize,
        stop: task.stop.clone(),
        deadline: Some(deadline),
        tenant: task.tenant.as_str().to_owned(),
        priority: priority(task.lane),
        constraint: task.form.effective_constraint(),
        chat: ChatOptions {
            tools: tools(&task.form.tools),
            enable_thinking: task.form.enable_thinking,
            continue_final_message: matches!(task.prompt, Prompt::Continued(_)),
            ..ChatOptions::default()
        },
    }
}

/// Creates the engine's request for the embedding of one of a task's inputs.
pub(crate) fn embed_request(
    task: &Task,
    prompt: &Prompt,
    dimensions: Option<u32>,
    deadline: Instant,
) -> EmbedRequest {
    EmbedRequest {
        input: input(prompt),
        dimensions: dimensions.map(|dimensions| dimensions as usize),
        deadline: Some(deadline),
        tenant: task.tenant.as_str().to_owned(),
        priority: priority(task.lane),
    }
}

/// Adds to an error which of several inputs it is about.
pub(crate) fn of_input(place: usize, error: GenerateError) -> GenerateError {
    match error {
        GenerateError::InvalidRequest(problem) => {
            GenerateError::InvalidRequest(format!("inputs[{place}]: {problem}"))
        }
        other => other,
    }
}

/// Returns the seed of an answer. It depends on the task alone, so that another attempt generates the same. The first
/// answer has the requested seed.
fn seed(task: &Task, choice: u8) -> u64 {
    // The last half of a UUIDv7 is random.
    let first = task.sampling.seed.unwrap_or_else(|| task.id.as_uuid().as_u64_pair().1);
    if choice == 0 {
        return first;
    }
    // MurmurHash3's finalizer: neighbouring seeds must not give answers in common.
    let mut seed = first ^ u64::from(choice).wrapping_mul(0xd134_2543_de82_ef95);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        seed = (seed ^ (seed >> 33)).wrapping_mul(factor);
    }
    seed ^ (seed >> 33)
}

fn input(prompt: &Prompt) -> Input {
    match prompt {
        Prompt::Raw(text) | Prompt::RawImages { text, .. } => Input::Text(text.clone()),
        Prompt::Chat(messages) | Prompt::Continued(messages) => Input::Chat(messages.clone()),
        Prompt::Tokens(tokens) => Input::Tokens(tokens.clone()),
    }
}

/// Returns the text of the prompt if the answers are to begin with it.
pub(crate) fn echo(task: &Task, tokenizer: &Tokenizer) -> Option<String> {
    match &task.prompt {
        Prompt::Raw(text) | Prompt::RawImages { text, .. } if task.form.echo => Some(text.clone()),
        Prompt::Tokens(tokens) if task.form.echo => Some(tokenizer.decode(tokens)),
        _ => None,
    }
}

fn priority(lane: Lane) -> u8 {
    match lane {
        Lane::High => 3,
        Lane::Normal => 2,
        Lane::Low => 1,
        Lane::Batch => 0,
    }
}

/// Converts the functions to the OpenAI format that chat templates expect. Returns `None` if there
/// are none, because templates test for that.
fn tools(tools: &[Tool]) -> Option<TemplateValue> {
    let shape = |tool: &Tool| {
        let mut function = json!({"name": tool.name});
        if let Some(description) = &tool.description {
            function["description"] = json!(description);
        }
        if let Some(parameters) = &tool.parameters {
            function["parameters"] = parameters.clone();
        }
        json!({"type": "function", "function": function})
    };
    if tools.is_empty() {
        return None;
    }
    Some(template_value(&tools.iter().map(shape).collect()))
}

/// Returns why an answer ended, or `None` if the generation was stopped from outside.
pub(crate) fn finish_reason(reason: StopReason) -> Option<FinishReason> {
    match reason {
        StopReason::EndOfTurn | StopReason::StopString => Some(FinishReason::Stop),
        StopReason::Length => Some(FinishReason::Length),
        StopReason::Cancelled | StopReason::Deadline => None,
    }
}

/// Returns an answer that ended by itself, at the stop string `stop_sequence` if there is one.
///
/// `parts` are the parts that the answer was split into, or `None` if it was not split.
pub(crate) fn choice(
    text: &str,
    logprobs: Option<Logprobs>,
    parts: Option<&[Part]>,
    finish_reason: FinishReason,
    stop_sequence: Option<String>,
) -> Choice {
    let mut choice = Choice { finish_reason, stop_sequence, logprobs, ..Choice::default() };
    let Some(parts) = parts else { return Choice { text: text.to_owned(), ..choice } };
    for part in parts {
        match part {
            Part::Text { text } => choice.text.push_str(text),
            Part::Reasoning { text } => choice.reasoning.get_or_insert_default().push_str(text),
            Part::ToolCall { call } => choice.tool_calls.push(call.clone()),
            Part::Image { .. } | Part::Video { .. } | Part::ToolResult { .. } => {}
        }
    }
    choice
}

/// Returns the format for splitting a task's answer into parts, or `None` if it is not split. Split
/// are answers whose owner requested parts, and answers with a constraint from a model that thinks
/// first, because the constraint does not apply to the thought.
pub(crate) fn parts(form: &AnswerForm, start: AnswerStart) -> Option<AnswerFormat> {
    let is_constrained = form.constraint.is_some() || form.tool_choice.is_call();
    let thinks_first = is_constrained && start != AnswerStart::AtFirstToken;
    let format = AnswerFormat {
        reasoning: true,
        begins_in_reasoning: start == AnswerStart::InsideReasoning,
        tools: !form.tools.is_empty(),
    };
    (form.split || thinks_first).then_some(format)
}

/// Converts the engine's error to the one that the task's owner gets.
pub(crate) fn failure(error: &GenerateError) -> TaskError {
    let error_type = match error {
        GenerateError::ContextLengthExceeded { .. } => ErrorType::ContextLengthExceeded,
        GenerateError::InvalidRequest(_) => ErrorType::InvalidRequest,
        GenerateError::OutOfMemory(_) => ErrorType::OutOfMemory,
        GenerateError::Compute(_)
        | GenerateError::DeviceLost(_)
        | GenerateError::GivenUp
        | GenerateError::Stopped => ErrorType::EngineError,
    };
    TaskError::new(error_type, error.to_string()).caused_by(error)
}

/// Returns the error of a task that exceeded its time limit. `progress` says how far it came, and what to do.
pub(crate) fn out_of_time(task: &Task, progress: &str) -> TaskError {
    TaskError::new(
        ErrorType::TimeLimitExceeded,
        format!(
            "the time limit of {} s ran out after {progress}, or have the operator raise TASK_TIME_LIMIT",
            task.time_limit_s
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_stopped_externally_has_no_completion() {
        assert_eq!(finish_reason(StopReason::Cancelled), None);
        assert_eq!(finish_reason(StopReason::Deadline), None);
        assert_eq!(finish_reason(StopReason::Length), Some(FinishReason::Length));
    }

    #[test]
    fn engine_requests_have_the_tenant_and_preemption_priority() {
        let mut last = None;
        for lane in Lane::ALL {
            let task = Task {
                id: protocol::TaskId::new(),
                tenant: protocol::TenantId::new("t1"),
                model: protocol::ModelId::new("demo"),
                lane,
                prompt: Prompt::Raw("x".into()),
                pixels: Default::default(),
                kind: Default::default(),
                n: 1,
                max_tokens: 1,
                stop: vec![],
                sampling: Sampling::greedy(),
                form: Default::default(),
                time_limit_s: 1,
                result_ttl_s: 1,
                max_attempts: 1,
                retry_backoff_s: None,
                user_id: None,
                metadata: Default::default(),
                webhook: None,
                skill: None,
                reuse: Default::default(),
                trace: None,
            };
            let request = request(&task, 0, vec![], &Sampling::default(), Instant::now());
            assert_eq!(request.tenant, "t1");
            assert!(last.replace(request.priority).is_none_or(|urgent| urgent > request.priority));
        }
    }

    #[test]
    fn only_memory_and_compute_errors_are_transient() {
        let transient = |error: GenerateError| failure(&error).error_type.is_transient();
        assert!(transient(GenerateError::OutOfMemory("kv".into())));
        assert!(transient(GenerateError::Compute("boom".into())));
        assert!(!transient(GenerateError::InvalidRequest("empty".into())));
        assert!(!transient(GenerateError::ContextLengthExceeded {
            prompt_tokens: 9,
            context_length: 8
        }));
    }
}
