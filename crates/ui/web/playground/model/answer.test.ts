import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError } from "../../api/errors";
import type { Metrics, TaskEvent } from "../../api/types";
import * as life from "./answer";
import { defaultSettings } from "./settings";
import { newAnswer } from "./tree";
import type { Answer } from "./types";

const METRICS = { queue_wait_time: 1, processing_time: 2 } as Metrics;

function fresh(): Answer {
  return newAnswer({ id: "a", parent: "q", column: 0, at: 0, settings: defaultSettings() });
}

const STREAM: TaskEvent[] = [
  { id: 1, event: "queued", data: { at: 1 } },
  { id: 2, event: "started", data: { at: 2, attempt: 1, worker: "w" } },
  { id: 3, event: "token", data: { at: 3, attempt: 1, text: "lost" } },
  { id: 4, event: "requeued", data: { at: 4, attempt: 1, reason: "worker_lost" } },
  { id: 5, event: "started", data: { at: 5, attempt: 2, worker: "v" } },
  { id: 6, event: "token", data: { at: 6, attempt: 2, text: "Hel" } },
  { id: 7, event: "token", data: { at: 7, attempt: 2, text: "lo" } },
  {
    id: 8,
    event: "completed",
    data: { status: "completed", task_id: "t", result: "Hello", finish_reason: "stop", metrics: METRICS },
  },
];

test("is the same however often the connection is lost", () => {
  const whole = life.applyEvents(fresh(), STREAM);
  assert.equal(whole.text, "Hello");
  assert.equal(whole.phase, "completed");
  assert.equal(whole.lastEvent, 8);
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const before = life.applyEvents(fresh(), STREAM.slice(0, cut));
    const overlapping = STREAM.slice(Math.max(0, cut - 2));
    assert.deepEqual(life.applyEvents(before, overlapping), whole, `cut at ${cut}`);
  }
});

test("discards the text of an attempt that was lost", () => {
  const lost = life.applyEvents(fresh(), STREAM.slice(0, 4));
  assert.deepEqual([lost.phase, lost.text], ["queued", ""]);
  const stale: TaskEvent = { id: 9, event: "token", data: { at: 9, attempt: 1, text: "old" } };
  assert.equal(life.applyEvents(life.applyEvents(fresh(), STREAM.slice(0, 7)), [stale]).text, "Hello");
});

test("splits reasoning, text and calls, and measures the reasoning", () => {
  const call = { id: "call_1", name: "f", arguments: {} };
  const answer = life.applyEvents(fresh(), [
    { id: 1, event: "started", data: { at: 1, attempt: 1, worker: "w" } },
    {
      id: 2,
      event: "token",
      data: { at: 1000, attempt: 1, text: "<think>2.", parts: [{ kind: "reasoning", text: "2." }] },
    },
    {
      id: 3,
      event: "token",
      data: {
        at: 3500,
        attempt: 1,
        text: "</think>Two.",
        parts: [
          { kind: "text", text: "Two." },
          { kind: "tool_call", call },
        ],
      },
    },
  ]);
  assert.deepEqual([answer.reasoning, answer.text, answer.toolCalls], ["2.", "Two.", [call]]);
  assert.deepEqual([answer.reasoningStartedAt, answer.reasoningEndedAt], [1000, 3500]);
});

test("keeps the text of a cancelled answer, and tells why one failed", () => {
  const started = life.applyEvents(fresh(), STREAM.slice(4, 6));
  const cancelled = life.applyEvents(started, [
    { id: 9, event: "cancelled", data: { status: "cancelled", task_id: "t", message: "" } },
  ]);
  assert.deepEqual([cancelled.phase, cancelled.text], ["cancelled", "Hel"]);
  const failed = life.ended(started, {
    status: "error",
    task_id: "t",
    error_type: "out_of_memory",
    error_message: "no room",
  });
  assert.deepEqual(failed.failure, { type: "out_of_memory", message: "no room" });
  assert.match(life.adviceFor({ type: "out_of_memory", message: "" }).title, /memory/);
});

test("tells how long to wait, if the server says so", () => {
  const failure = life.failureOf(new ApiError(429, "full", "queue_full", [], 5));
  assert.deepEqual(failure, { type: "queue_full", message: "full", retryAfter: 5 });
  assert.match(life.adviceFor(failure).advice, /wait 5 s/);
  assert.equal(life.failureOf(new ApiError(401, "Invalid API key")).type, "invalid_key");
  assert.equal(life.failureOf(new Error("x")).type, "connection");
});
