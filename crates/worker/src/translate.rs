//! Converts between the queue's and the engine's types. Pure.

use std::time::Instant;

use engine::api::{self, Finished, GenerateError, Input, Message, Request, Sampling, StopReason};
use engine::text::{
    AnswerEvent, AnswerFormat, AnswerStart, ChatOptions, TemplateValue, ToolCall, template_value,
};
use engine::{Constraint, Function};
use protocol::{
    AnswerForm, AnswerPart, Completion, ErrorType, FinishReason, GenerationParams, Lane, Logprobs,
    Prompt, Task, TaskError, TokenLogprob, TokenLogprobs, Tool, ToolChoice, Usage,
};
use serde_json::json;

/// Creates the engine's request for `task`, which must end by `deadline`.
pub(crate) fn request(task: &Task, deadline: Instant) -> Request {
    let input = match &task.prompt {
        Prompt::Raw(text) => Input::Text(text.clone()),
        Prompt::Chat(messages) => Input::Chat(
            messages
                .iter()
                .map(|m| Message { role: m.role.as_str().into(), content: m.content.clone() })
                .collect(),
        ),
    };
    let params = &task.params;
    Request {
        input,
        adapter: None,
        sampling: sampling(params),
        max_tokens: params.max_tokens as usize,
        stop: params.stop.clone(),
        deadline: Some(deadline),
        tenant: task.tenant.as_str().to_owned(),
        priority: match task.lane {
            Lane::High => 3,
            Lane::Normal => 2,
            Lane::Low => 1,
            Lane::Batch => 0,
        },
        constraint: constraint(&task.form),
        chat: ChatOptions {
            tools: tools(&task.form.tools),
            enable_thinking: task.form.enable_thinking,
            ..ChatOptions::default()
        },
    }
}

/// Converts the output constraint.
fn constraint(form: &AnswerForm) -> Option<Constraint> {
    let function =
        |tool: &Tool| Function { name: tool.name.clone(), parameters: tool.parameters.clone() };
    let asked = form.constraint.as_ref().map(|constraint| match constraint {
        protocol::Constraint::JsonObject => Constraint::JsonObject,
        protocol::Constraint::JsonSchema(schema) => Constraint::JsonSchema(schema.clone()),
        protocol::Constraint::Regex(regex) => Constraint::Regex(regex.clone()),
        protocol::Constraint::Choice(choices) => Constraint::Choice(choices.clone()),
    });
    asked.or_else(|| match &form.tool_choice {
        ToolChoice::Auto | ToolChoice::None => None,
        ToolChoice::Required => {
            Some(Constraint::ToolCall(form.tools.iter().map(function).collect()))
        }
        ToolChoice::Function(name) => {
            let named = form.tools.iter().filter(|tool| tool.name == *name);
            Some(Constraint::ToolCall(named.map(function).collect()))
        }
    })
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

pub(crate) fn sampling(params: &GenerationParams) -> Sampling {
    Sampling {
        temperature: params.temperature,
        top_p: params.top_p,
        top_k: params.top_k.map(|k| k as usize),
        min_p: params.min_p,
        repetition_penalty: params.repetition_penalty,
        presence_penalty: params.presence_penalty,
        frequency_penalty: params.frequency_penalty,
        logit_bias: params.logit_bias.clone(),
        seed: params.seed,
        logprobs: params.logprobs.map(|top| top as usize),
    }
}

/// Returns the completion of a generation that ran to its end, or `None` if it was stopped from
/// outside.
///
/// `parts` are the parts that the answer was split into, or `None` if it was not split.
pub(crate) fn completion(
    text: &str,
    logprobs: Option<Logprobs>,
    parts: Option<&[AnswerPart]>,
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
    let mut told = Completion {
        text: String::new(),
        reasoning: None,
        tool_calls: vec![],
        finish_reason,
        usage,
        logprobs,
        sampling_defaults: Default::default(),
    };
    let Some(parts) = parts else { return Some(Completion { text: text.to_owned(), ..told }) };
    for part in parts {
        match part {
            AnswerPart::Text { text } => told.text.push_str(text),
            AnswerPart::Reasoning { text } => told.reasoning.get_or_insert_default().push_str(text),
            AnswerPart::ToolCall { call } => told.tool_calls.push(call.clone()),
        }
    }
    Some(told)
}

/// Returns the format for splitting a task's answer into parts, or `None` if it is not split. Split
/// are answers whose owner requested parts, and answers with a constraint from a model that thinks
/// first, because the constraint does not apply to the thought.
pub(crate) fn parts(form: &AnswerForm, start: AnswerStart) -> Option<AnswerFormat> {
    let is_constrained = form.constraint.is_some() || form.tool_choice.is_call();
    let thinks_first = is_constrained && start != AnswerStart::AtOnce;
    let format = AnswerFormat {
        reasoning: true,
        begins_in_reasoning: start == AnswerStart::InThought,
        tools: !form.tools.is_empty(),
    };
    (form.has_parts() || thinks_first).then_some(format)
}

/// Converts a part of an answer.
pub(crate) fn part(event: AnswerEvent) -> AnswerPart {
    match event {
        AnswerEvent::Content(text) => AnswerPart::Text { text },
        AnswerEvent::Reasoning(text) => AnswerPart::Reasoning { text },
        AnswerEvent::ToolCall(call) => AnswerPart::ToolCall {
            call: match call {
                ToolCall::Function { name, arguments } => {
                    protocol::ToolCall::Function { name, arguments }
                }
                ToolCall::Malformed { raw, error } => protocol::ToolCall::Malformed { raw, error },
            },
        },
    }
}

/// Converts a token's logprobs.
pub(crate) fn logprobs(token: api::TokenLogprobs) -> TokenLogprobs {
    let named = |one: api::TokenLogprob| TokenLogprob::new(one.bytes, one.logprob);
    TokenLogprobs {
        drawn: named(token.drawn),
        top_logprobs: token.top.into_iter().map(named).collect(),
    }
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

/// Returns the error of a task that exceeded its time limit.
pub(crate) fn out_of_time(task: &Task, completion_tokens: usize) -> TaskError {
    TaskError::new(
        ErrorType::TimeLimitExceeded,
        format!(
            "the time limit of {} s ran out after {completion_tokens} tokens: ask for fewer tokens, or have \
             the operator raise TASK_TIME_LIMIT",
            task.time_limit_s
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_stopped_from_outside_completes_nothing() {
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
    fn the_engine_hears_whose_a_task_is_and_which_gives_way_first() {
        let mut last = None;
        for lane in Lane::ALL {
            let task = Task {
                id: protocol::TaskId::new(),
                tenant: protocol::TenantId::new("t1"),
                model: protocol::ModelId::new("demo"),
                lane,
                prompt: Prompt::Raw("x".into()),
                params: protocol::GenerationParams::greedy(1),
                form: Default::default(),
                time_limit_s: 1,
                result_ttl_s: 1,
                max_attempts: 1,
                user_id: None,
                metadata: Default::default(),
                webhook: None,
            };
            let request = request(&task, Instant::now());
            assert_eq!(request.tenant, "t1");
            assert!(last.replace(request.priority).is_none_or(|urgent| urgent > request.priority));
        }
    }

    #[test]
    fn the_engine_hears_how_tokens_are_to_be_drawn() {
        let params = GenerationParams {
            temperature: 0.1,
            top_p: 0.2,
            top_k: Some(3),
            min_p: 0.4,
            repetition_penalty: 1.5,
            presence_penalty: 0.6,
            frequency_penalty: 0.7,
            logit_bias: [(8, 0.8)].into(),
            logprobs: Some(9),
            seed: Some(10),
            ..GenerationParams::greedy(11)
        };
        let expected = Sampling {
            temperature: 0.1,
            top_p: 0.2,
            top_k: Some(3),
            min_p: 0.4,
            repetition_penalty: 1.5,
            presence_penalty: 0.6,
            frequency_penalty: 0.7,
            logit_bias: [(8, 0.8)].into(),
            logprobs: Some(9),
            seed: Some(10),
        };
        assert_eq!(sampling(&params), expected);
    }

    #[test]
    fn only_what_may_pass_is_transient() {
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
