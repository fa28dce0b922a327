/** The life of an answer: what events, refusals and lost results make of it. Pure. */

import { ApiError } from "../../api/errors";
import type { Completed, Part, Result, Submitted, TaskEvent, TaskStatus } from "../../api/types";
import type { Answer, Call, Failure } from "./types";

/** The server accepted the task. */
export function accepted(answer: Answer, call: Call, submitted: Submitted): Answer {
  return {
    ...answer,
    call,
    taskId: submitted.task_id,
    phase: "queued",
    queuePosition: submitted.queue_position,
    eta: submitted.eta_seconds,
    warnings: submitted.warnings ?? [],
  };
}

/** The task still waits. A later event has priority. */
export function looked(answer: Answer, status: TaskStatus): Answer {
  if (answer.phase !== "queued" || status.status !== "queued") return answer;
  return { ...answer, queuePosition: status.queue_position, eta: status.eta_seconds };
}

/** Applies events in order. Those that the answer has already are skipped. */
export function applyEvents(answer: Answer, events: TaskEvent[]): Answer {
  return events.reduce((before, event) => {
    if (event.id <= before.lastEvent) return before;
    return { ...applyEvent(before, event), lastEvent: event.id };
  }, answer);
}

function applyEvent(answer: Answer, event: TaskEvent): Answer {
  switch (event.event) {
    case "queued":
      return { ...answer, phase: "queued" };
    case "started":
      return begin(answer, event.data.attempt);
    case "token": {
      const current = event.data.attempt > answer.attempt ? begin(answer, event.data.attempt) : answer;
      if (event.data.attempt < current.attempt) return current;
      const { at, text, parts } = event.data;
      return (parts ?? [{ kind: "text", text }]).reduce((before, part) => addPart(before, part, at), current);
    }
    case "requeued":
      return { ...begin(answer, answer.attempt), phase: "queued", queuePosition: undefined, eta: undefined };
    case "completed":
    case "failed":
    case "cancelled":
      return ended(answer, event.data);
    default:
      return answer;
  }
}

/** An attempt starts from the beginning, whatever the one before has written. */
function begin(answer: Answer, attempt: number): Answer {
  return {
    ...answer,
    attempt,
    phase: "processing",
    text: "",
    reasoning: "",
    reasoningStartedAt: undefined,
    reasoningEndedAt: undefined,
    toolCalls: [],
  };
}

function addPart(answer: Answer, part: Part, at: number): Answer {
  switch (part.kind) {
    case "reasoning":
      return {
        ...answer,
        reasoning: answer.reasoning + part.text,
        reasoningStartedAt: answer.reasoningStartedAt ?? at,
      };
    case "text":
      return part.text === "" ? answer : { ...reasoned(answer, at), text: answer.text + part.text };
    case "tool_call":
      return { ...reasoned(answer, at), toolCalls: [...answer.toolCalls, part.call] };
    default:
      return answer;
  }
}

function reasoned(answer: Answer, at: number): Answer {
  const isOver = answer.reasoning !== "" && answer.reasoningEndedAt === undefined;
  return isOver ? { ...answer, reasoningEndedAt: at } : answer;
}

/** The task has ended with this result. */
export function ended(answer: Answer, result: Result): Answer {
  switch (result.status) {
    case "completed":
      return completed(answer, result);
    case "error":
      return failed(answer, { type: result.error_type, message: result.error_message });
    case "cancelled":
      return { ...answer, phase: "cancelled" };
  }
}

function completed(answer: Answer, result: Completed): Answer {
  const one = result.annotated_image ? [result.annotated_image] : [];
  return {
    ...answer,
    phase: "completed",
    text: result.result,
    reasoning: result.reasoning ?? "",
    toolCalls: result.tool_calls ?? [],
    finishReason: result.finish_reason,
    metrics: result.metrics,
    structured: result.structured,
    annotated: result.annotated_images ?? one,
    warnings: [...answer.warnings, ...(result.warnings ?? [])],
  };
}

export function failed(answer: Answer, failure: Failure): Answer {
  return { ...answer, phase: "failed", failure };
}

/** Returns what an error means for the answer that it befell. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof ApiError)) {
    return { type: "connection", message: error instanceof Error ? error.message : String(error) };
  }
  const type = error.code ?? TYPES_OF_STATUS[error.status] ?? "refused";
  const failure: Failure = { type, message: error.message };
  return error.retryAfter === null ? failure : { ...failure, retryAfter: error.retryAfter };
}

const TYPES_OF_STATUS: Record<number, string> = {
  401: "invalid_key",
  403: "forbidden",
  404: "not_found",
  410: "result_expired",
  413: "too_large",
  422: "invalid_request",
  503: "unavailable",
};

/** Returns a title for people, and what they can do about a failure. */
export function adviceFor(failure: Failure): { title: string; advice: string } {
  const { title, advice } = ADVICE[failure.type] ?? { title: "The answer failed", advice: "Try again." };
  if (failure.retryAfter === undefined) return { title, advice };
  return { title, advice: `${advice} The server suggests to wait ${Math.ceil(failure.retryAfter)} s.` };
}

const FULL = { title: "The queue is full", advice: "Try again in a moment." };

const ADVICE: Record<string, { title: string; advice: string }> = {
  connection: { title: "The server can't be reached", advice: "Check the connection, then try again." },
  invalid_key: { title: "The API key was refused", advice: "Enter another key by the menu at the top right." },
  forbidden: { title: "The key may not do this", advice: "Choose another model or priority, or ask for more rights." },
  not_found: {
    title: "The server does not know it",
    advice: "A task belongs to the key that submitted it. Ask again.",
  },
  result_expired: { title: "The result has expired", advice: "Results are kept for a time only. Ask again." },
  too_large: { title: "The request is too large", advice: "Send smaller or fewer files." },
  invalid_request: { title: "The request was refused", advice: "Change the settings that the message names." },
  context_length_exceeded: {
    title: "The conversation is too long for the model",
    advice: "Start a new conversation, shorten the question, or lower the maximum of tokens.",
  },
  time_limit_exceeded: { title: "The task took too long", advice: "Lower the maximum of tokens, or try again." },
  expired: { title: "No worker was free in time", advice: "Try again, or with a higher priority." },
  out_of_memory: { title: "The worker ran out of memory", advice: "Try again with a shorter conversation." },
  engine_error: { title: "The engine failed", advice: "Try again. The operators find the reason in errors.log." },
  worker_lost: { title: "The worker was lost", advice: "Try again: another worker takes the task." },
  unavailable: { title: "The server is unwell", advice: "Try again in a moment." },
  queue_full: FULL,
  tenant_queue_full: { title: "Too many tasks of your key wait", advice: "Wait for some of them, then try again." },
  queue_memory_full: FULL,
  rate_limited: { title: "A limit on the use of your key is reached", advice: "Try again later." },
};
