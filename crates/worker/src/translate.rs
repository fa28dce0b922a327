//! Converts between the queue's and the engine's types. Pure.

use std::time::Instant;

use chat::{FinishReason, Logprobs, Part, Sampling, Tool, Usage};
use engine::api::{EmbedRequest, Finished, GenerateError, Input, Request, StopReason};
use engine::text::{AnswerFormat, AnswerStart, ChatOptions, TemplateValue, template_value};
use protocol::{AnswerForm, Completion, ErrorType, Lane, Prompt, Task, TaskError};
use serde_json::json;

/// Checks that the task's model computes what the task asks for; `embeds` says whether the model makes embeddings.
///
/// # Errors
/// If it does not.
pub(crate) fn check_kind(task: &Task, embeds: bool) -> Result<(), GenerateError> {
    let model = &task.model;
    match (task.kind.is_generate(), embeds) {
        (true, false) | (false, true) => Ok(()),
        (true, true) => Err(GenerateError::InvalidRequest(format!(
            "the model {model} makes embeddings and generates no text: choose another model, or ask it for \
             embeddings"
        ))),
        (false, false) => Err(GenerateError::InvalidRequest(format!(
            "the model {model} generates text and makes no embeddings: choose an embedding model, such as \
             Qwen3-Embedding"
        ))),
    }
}

/// Creates the engine's request for `task`, which must end by `deadline`, of a model whose authors recommend these
/// sampling parameters.
pub(crate) fn request(task: &Task, recommended: &Sampling, deadline: Instant) -> Request {
    Request {
        input: input(&task.prompt),
        adapter: None,
        sampling: task.sampling.resolved(recommended),
        max_tokens: task.max_tokens as usize,
        stop: task.stop.clone(),
        deadline: Some(deadline),
        tenant: task.tenant.as_str().to_owned(),
        priority: priority(task.lane),
        constraint: task.form.effective_constraint(),
        chat: ChatOptions {
            tools: tools(&task.form.tools),
            enable_thinking: task.form.enable_thinking,
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

fn input(prompt: &Prompt) -> Input {
    match prompt {
        Prompt::Raw(text) => Input::Text(text.clone()),
        Prompt::Chat(messages) => Input::Chat(messages.clone()),
        Prompt::Tokens(tokens) => Input::Tokens(tokens.clone()),
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

/// Returns the completion of a generation that ran to its end, or `None` if it was stopped from
/// outside.
///
/// `parts` are the parts that the answer was split into, or `None` if it was not split.
pub(crate) fn completion(
    text: &str,
    logprobs: Option<Logprobs>,
    parts: Option<&[Part]>,
    finished: &Finished,
) -> Option<Completion> {
    let finish_reason = match finished.reason {
        StopReason::EndOfTurn | StopReason::StopString => FinishReason::Stop,
        StopReason::Length => FinishReason::Length,
        StopReason::Cancelled | StopReason::Deadline => return None,
    };
    let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
    let usage = Usage {
        prompt_tokens: count(finished.prompt_tokens),
        completion_tokens: count(finished.completion_tokens),
        cached_tokens: count(finished.cached_tokens),
    };
    let mut told = Completion { finish_reason, usage, logprobs, ..Completion::default() };
    let Some(parts) = parts else { return Some(Completion { text: text.to_owned(), ..told }) };
    for part in parts {
        match part {
            Part::Text { text } => told.text.push_str(text),
            Part::Reasoning { text } => told.reasoning.get_or_insert_default().push_str(text),
            Part::ToolCall { call } => told.tool_calls.push(call.clone()),
            Part::Image { .. } | Part::Video { .. } | Part::ToolResult { .. } => {}
        }
    }
    Some(told)
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
        GenerateError::Compute(_) | GenerateError::DeviceLost(_) | GenerateError::Stopped => {
            ErrorType::EngineError
        }
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn task_stopped_externally_has_no_completion() {
        let finished = |reason| Finished {
            reason,
            prompt_tokens: 3,
            cached_tokens: 1,
            completion_tokens: 2,
            prefill: Duration::ZERO,
            decode: Duration::ZERO,
        };
        assert!(completion("x", None, None, &finished(StopReason::Cancelled)).is_none());
        assert!(completion("x", None, None, &finished(StopReason::Deadline)).is_none());
        let done = completion("x", None, None, &finished(StopReason::Length)).unwrap();
        assert_eq!(done.finish_reason, FinishReason::Length);
        let usage = Usage { prompt_tokens: 3, completion_tokens: 2, cached_tokens: 1 };
        assert_eq!(done.usage, usage);
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
                kind: Default::default(),
                max_tokens: 1,
                stop: vec![],
                sampling: Sampling::greedy(),
                form: Default::default(),
                time_limit_s: 1,
                result_ttl_s: 1,
                max_attempts: 1,
                user_id: None,
                metadata: Default::default(),
                webhook: None,
            };
            let request = request(&task, &Sampling::default(), Instant::now());
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
