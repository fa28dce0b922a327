import assert from "node:assert/strict";
import { test } from "node:test";
import { eventLines } from "./event-lines";
import { type TaskEvent, timeline, timelineOf } from "./timeline";

function events(...all: [string, Record<string, unknown>][]): TaskEvent[] {
  return all.map(([event, data], index) => ({ id: index + 1, event, data }));
}

const spans = (life: ReturnType<typeof timeline>) => life.segments.map(({ kind, from, to }) => [kind, from, to]);

const RETRIED = events(
  ["queued", { at: 1000 }],
  ["started", { at: 1500, attempt: 1, worker: "w1" }],
  ["token", { at: 1600, attempt: 1, text: "lost" }],
  ["requeued", { at: 2000, attempt: 1, reason: "the worker's lease expired" }],
  ["started", { at: 3000, attempt: 2, worker: "w2" }],
  ["token", { at: 3200, attempt: 2, text: "a" }],
  ["token", { at: 3300, attempt: 2, text: "b" }],
  ["completed", { finish_reason: "length", metrics: { total_time: 3, completion_tokens: 2 } }],
);

test("a retried task has its waits, its failed attempt and its answer", () => {
  const life = timeline(RETRIED, 0, null);
  assert.deepEqual(spans(life), [
    ["waiting", 1000, 1500],
    ["lost", 1500, 2000],
    ["waiting", 2000, 3000],
    ["prefill", 3000, 3200],
    ["generating", 3200, 4000],
  ]);
  assert.deepEqual([life.end, life.endedAt], ["completed", 4000]);
  assert.deepEqual(
    life.attempts.map(({ worker, text, error }) => [worker, text, error]),
    [
      ["w1", "lost", "the worker's lease expired"],
      ["w2", "ab", null],
    ],
  );
});

test("what has not ended extends to now", () => {
  assert.deepEqual(spans(timeline(RETRIED.slice(0, 1), 1400, null)), [["waiting", 1000, 1400]]);
  assert.deepEqual(spans(timeline(RETRIED.slice(0, 2), 1900, null)).at(-1), ["prefill", 1500, 1900]);
  assert.deepEqual(spans(timeline(RETRIED.slice(0, 4), 2500, null)).at(-1), ["waiting", 2000, 2500]);
});

test("a failure has no time of its own: the seen one counts, or the bars end with the last event", () => {
  const failed = events(
    ["queued", { at: 1000 }],
    ["started", { at: 1500, attempt: 1, worker: "w1" }],
    ["token", { at: 1700, attempt: 1, text: "a" }],
    ["failed", { error_type: "engine_error", error_message: "it broke" }],
  );
  const unknown = timeline(failed, 9999, null);
  assert.deepEqual([spans(unknown).at(-1), unknown.endedAt], [["lost", 1500, 1700], null]);
  assert.equal(unknown.attempts[0]?.error, "engine_error: it broke");
  assert.deepEqual(spans(timeline(failed, 9999, 2000)).at(-1), ["lost", 1500, 2000]);
});

test("a task of a listing has a timeline without events", () => {
  const task = {
    task_id: "t",
    model: "m",
    lane: "normal",
    tenant: "o",
    user_id: null,
    attempt: 1,
    worker: "w",
  } as const;
  const running = timelineOf({ ...task, status: "processing", submitted_at: 1, started_at: 5, ended_at: null }, 9);
  assert.deepEqual(spans(running), [
    ["waiting", 1, 5],
    ["running", 5, 9],
  ]);
  const queued = timelineOf({ ...task, status: "queued", submitted_at: 1, started_at: null, ended_at: null }, 9);
  assert.deepEqual(spans(queued), [["waiting", 1, 9]]);
});

test("the chunks of an answer share a line", () => {
  assert.deepEqual(
    eventLines(RETRIED).map(({ id, name, text, isBad }) => [id, name, text, isBad]),
    [
      [1, "queued", "accepted into the queue", false],
      [2, "started", "attempt 1 on worker w1", false],
      [3, "token", "1 chunk of text, 4 characters, events 3 to 3", false],
      [4, "requeued", "attempt 1 ended: the worker's lease expired", true],
      [5, "started", "attempt 2 on worker w2", false],
      [6, "token", "2 chunks of text, 2 characters, events 6 to 7", false],
      [8, "completed", "2 generated tokens, cut off by max_tokens or the context", false],
    ],
  );
});
