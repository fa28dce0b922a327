//! The clients' commands: submit, status, result, watch, cancel.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::follow;
use super::sampling::{SamplingArgs, Whole};
use super::visuals::{self, Part, Visuals};
use crate::client::{Client, Target};
use crate::output::Output;

/// Examples below the help of `submit`.
pub(crate) const SUBMIT_EXAMPLES: &str = "Examples:
  qwen-queue submit --wait 'How do I add a worker?'
  qwen-queue submit --wait --image before.jpg --image after.jpg 'What has changed?'";

/// The arguments of `submit`: a prompt, and options for the answer.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The prompt; - reads it from standard input.
    #[arg(required_unless_present = "messages")]
    prompt: Option<String>,
    /// Send the conversation in this file instead of a prompt: a JSON array, as the API's field messages.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "raw", "image", "video"])]
    messages: Option<PathBuf>,
    #[command(flatten)]
    visuals: Visuals,
    /// Wait for the answer and print it.
    #[arg(long, conflicts_with = "stream")]
    wait: bool,
    /// Print the answer as it is generated.
    #[arg(long)]
    stream: bool,
    /// With --wait: print the whole result as JSON, logprobs included.
    #[arg(long, requires = "wait")]
    json: bool,
    /// Generate at most this many tokens; -1: as many as the gateway allows.
    #[arg(long, allow_negative_numbers = true)]
    max_tokens: Option<Whole>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Constrain the answer to JSON that satisfies the JSON schema in this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["regex", "choice"])]
    json_schema: Option<PathBuf>,
    /// Constrain the answer to text that matches this regular expression as a whole.
    #[arg(long, conflicts_with = "choice")]
    regex: Option<String>,
    /// Constrain the answer to one of several texts; repeat this flag for each.
    #[arg(long)]
    choice: Vec<String>,
    /// Let the model call the functions in this file: a JSON array, as the API's field tools.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json_schema", "regex", "choice", "raw"])]
    tools: Option<PathBuf>,
    /// Ask the model to think first; --stream and --json show its reasoning.
    #[arg(long, conflicts_with = "raw")]
    think: bool,
    /// Ask the model not to think.
    #[arg(long, conflicts_with_all = ["raw", "think"])]
    no_think: bool,
    /// Send the prompt to the model without the chat template.
    #[arg(long, conflicts_with_all = ["image", "video"])]
    raw: bool,
    /// The model that answers [default: the gateway's default model].
    #[arg(long)]
    model: Option<String>,
    /// Your label for the end user, never interpreted.
    #[arg(long)]
    user_id: Option<String>,
    /// The lane of the task: high, normal, low or batch [default: normal].
    #[arg(long)]
    priority: Option<String>,
    /// Start no sooner than this many seconds from now.
    #[arg(long, value_name = "SECONDS", conflicts_with = "run_at")]
    delay: Option<f64>,
    /// Start no sooner than this time, e.g. 2025-11-21T15:30:00Z.
    #[arg(long, value_name = "TIME")]
    run_at: Option<String>,
    /// Fail the task if no worker has started it within this many seconds.
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// Fail the task after this many failed attempts [default: the gateway's maximum].
    #[arg(long, value_name = "N")]
    max_attempts: Option<u64>,
    /// Wait this long after the first failed attempt, twice as long after each further one, up to a minute; 0: retry at
    /// once [default: 1].
    #[arg(long, value_name = "SECONDS")]
    retry_backoff: Option<u64>,
    /// Send a signed POST to this http or https URL when the task ends.
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// One task.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// The task's id, as submit printed it.
    task_id: String,
    #[command(flatten)]
    target: Target,
}

/// One task's result.
#[derive(Debug, Args)]
pub(crate) struct ResultArgs {
    /// Wait until the task has ended.
    #[arg(long)]
    wait: bool,
    /// Print the whole result as JSON, metrics and logprobs included.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    task: TaskArgs,
}

impl Submit {
    /// Creates the body of `POST /generate`; the gateway has defaults for missing fields.
    ///
    /// # Errors
    /// If a file that a flag names cannot be read or is not JSON, or standard input cannot be read.
    fn body(&self, visuals: &[Part]) -> Result<Value> {
        let mut body = Map::from_iter([self.input(visuals)?]);
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        set("max_tokens", self.max_tokens.map(Whole::value));
        set("response_format", self.json_schema.as_deref().map(response_format).transpose()?);
        set("regex", self.regex.clone().map(Value::from));
        set("choice", (!self.choice.is_empty()).then(|| json!(self.choice)));
        set(
            "tools",
            self.tools.as_deref().map(|file| json_in(file, "an array of functions")).transpose()?,
        );
        set("enable_thinking", (self.think || self.no_think).then_some(Value::Bool(self.think)));
        set("raw", self.raw.then_some(Value::Bool(true)));
        set("model", self.model.clone().map(Value::from));
        set("user_id", self.user_id.clone().map(Value::from));
        set("priority", self.priority.clone().map(Value::from));
        set("delay_s", self.delay.map(Value::from));
        set("run_at", self.run_at.clone().map(Value::from));
        set("expires_in_s", self.expires_in.map(Value::from));
        set("max_attempts", self.max_attempts.map(Value::from));
        set("retry_backoff_s", self.retry_backoff.map(Value::from));
        set("webhook_url", self.webhook_url.clone().map(Value::from));
        body.extend(self.sampling.fields());
        Ok(Value::Object(body))
    }
}

impl Submit {
    /// Returns the field with the input: the prompt or the conversation.
    fn input(&self, visuals: &[Part]) -> Result<(String, Value)> {
        if let Some(file) = &self.messages {
            return Ok(("messages".to_owned(), json_in(file, "an array of messages")?));
        }
        let mut prompt = self.prompt.clone().unwrap_or_default();
        if prompt == "-" {
            prompt.clear();
            std::io::stdin().read_to_string(&mut prompt).context("standard input can't be read")?;
        }
        if visuals.is_empty() {
            return Ok(("prompt".to_owned(), Value::String(prompt)));
        }
        let text = json!({"type": "text", "text": prompt});
        let parts: Vec<Value> = visuals.iter().map(Part::json).chain([text]).collect();
        Ok(("messages".to_owned(), json!([{"role": "user", "content": parts}])))
    }
}

/// Creates the `response_format` for the schema in a file.
fn response_format(file: &Path) -> Result<Value> {
    let schema = json_in(file, "a JSON schema")?;
    Ok(json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}))
}

/// Reads a JSON file; `what` names its expected content in errors.
fn json_in(file: &Path, what: &str) -> Result<Value> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name} can't be read"))?;
    serde_json::from_str(&text).with_context(|| format!("{name} is not a JSON file with {what}"))
}

/// Submits a prompt.
pub(crate) fn submit(args: &Submit, output: &mut Output) -> Result<()> {
    let client = Client::new(&args.target)?;
    let parts = args.visuals.resolve(&client, output)?;
    let accepted = client.post("/generate", &args.body(&parts)?).inspect_err(|error| {
        if !error.may_succeed_later() {
            visuals::delete(&client, &parts);
        }
    })?;
    let task_id = accepted["task_id"].as_str().context("the gateway's response has no task_id")?;
    if args.stream {
        output.announced(task_id, |output| follow_and_print_outcome(&client, task_id, true, output))
    } else if args.wait {
        output.announced(task_id, |output| {
            print_result(&client.wait_for_result(task_id)?, args.json, output)
        })
    } else {
        Ok(output.accepted(task_id)?)
    }
}

/// Prints a task's status.
pub(crate) fn status(args: &TaskArgs, output: &mut Output) -> Result<()> {
    let status = Client::new(&args.target)?.get(&format!("/status/{}", args.task_id))?;
    output.line(status["status"].as_str().unwrap_or("unknown"))?;
    output.note(status["message"].as_str().unwrap_or_default());
    if let Some(place) = place(&status) {
        output.note(&place);
    }
    Ok(())
}

/// Describes a waiting task's position in the queue, if known.
fn place(status: &Value) -> Option<String> {
    let position = status["queue_position"].as_u64()?;
    let eta = &status["eta_seconds"];
    Some(match (eta["low"].as_f64(), eta["high"].as_f64()) {
        (Some(low), Some(high)) => {
            format!("number {position} in line, done in some {low:.0} to {high:.0} s")
        }
        _ => format!("number {position} in line"),
    })
}

/// Prints a task's result.
pub(crate) fn result(args: &ResultArgs, output: &mut Output) -> Result<()> {
    let client = Client::new(&args.task.target)?;
    let result = if args.wait {
        client.wait_for_result(&args.task.task_id)?
    } else {
        client.get(&format!("/result/{}", args.task.task_id))?
    };
    print_result(&result, args.json, output)
}

/// Prints a task's text as it is generated.
pub(crate) fn watch(args: &TaskArgs, output: &mut Output) -> Result<()> {
    follow_and_print_outcome(&Client::new(&args.target)?, &args.task_id, false, output)
}

/// Cancels a task.
pub(crate) fn cancel(args: &TaskArgs, output: &mut Output) -> Result<()> {
    let reply =
        Client::new(&args.target)?.post(&format!("/cancel/{}", args.task_id), &json!({}))?;
    output.line(reply["status"].as_str().unwrap_or("unknown"))?;
    output.note(reply["message"].as_str().unwrap_or_default());
    Ok(())
}

/// Prints the answer on standard output and everything else on standard error, or, as JSON,
/// everything on standard output.
pub(super) fn print_result(result: &Value, as_json: bool, output: &mut Output) -> Result<()> {
    if as_json {
        output.answer(&format!("{result}\n"))?;
    }
    match result["status"].as_str() {
        Some("completed") if as_json => Ok(()),
        Some("completed") => {
            let text = result["result"].as_str().unwrap_or_default();
            output.answer(&format!("{text}\n"))?;
            for call in result["tool_calls"].as_array().into_iter().flatten() {
                output.note(&format!("[{}]", follow::call(call)));
            }
            output.note(&figures(&result["metrics"]));
            Ok(())
        }
        Some("error") => bail!(
            "the task failed ({}): {}",
            result["error_type"].as_str().unwrap_or("unknown"),
            result["error_message"].as_str().unwrap_or_default()
        ),
        Some("cancelled") => bail!("the task was cancelled"),
        state => {
            bail!("the task is still {}: wait for its end with --wait", state.unwrap_or("unknown"))
        }
    }
}

pub(super) fn figures(metrics: &Value) -> String {
    let figure = |name: &str| metrics[name].as_f64().unwrap_or_default();
    let drafted = match figure("drafted_tokens") {
        0.0 => String::new(),
        drafted => format!(", {} of {drafted} drafted tokens accepted", figure("accepted_tokens")),
    };
    format!(
        "waited {:.2} s, computed {:.2} s, {} prompt ({} cached) + {} completion tokens, {:.1} tokens/s{drafted}",
        figure("queue_wait_time"),
        figure("processing_time"),
        figure("prompt_tokens"),
        figure("cached_tokens"),
        figure("completion_tokens"),
        figure("tokens_per_second")
    )
}

/// Prints the text as it is generated, then the metrics or the reason for the failure.
fn follow_and_print_outcome(
    client: &Client,
    task_id: &str,
    accepted: bool,
    output: &mut Output,
) -> Result<()> {
    let result = follow::follow(client, task_id, accepted, output)?;
    match result["status"].as_str() {
        Some("completed") => output.note(&figures(&result["metrics"])),
        _ => print_result(&result, false, output)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_line_includes_cached_and_drafted_tokens() {
        let mut metrics = json!({
            "queue_wait_time": 2.3, "processing_time": 5.8, "prompt_tokens": 50,
            "cached_tokens": 32, "completion_tokens": 200, "tokens_per_second": 34.48,
        });
        let told = "waited 2.30 s, computed 5.80 s, 50 prompt (32 cached) + 200 completion tokens, 34.5 tokens/s";
        assert_eq!(figures(&metrics), told);
        metrics["drafted_tokens"] = json!(60);
        metrics["accepted_tokens"] = json!(41);
        assert_eq!(figures(&metrics), format!("{told}, 41 of 60 drafted tokens accepted"));
    }

    #[test]
    fn queue_position_is_printed_with_the_eta_if_known() {
        assert_eq!(place(&json!({"status": "processing"})), None);
        let mut status = json!({"queue_position": 3});
        assert_eq!(place(&status).as_deref(), Some("number 3 in line"));
        status["eta_seconds"] = json!({"low": 4.2, "high": 11.0});
        let told = "number 3 in line, done in some 4 to 11 s";
        assert_eq!(place(&status).as_deref(), Some(told));
    }
}
