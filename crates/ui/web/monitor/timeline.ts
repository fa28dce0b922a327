/** Turns a task's events into the segments of its life. Pure. */

import type { ListedTask } from "./replies";

/** An event of `GET /events/{task_id}`. */
export interface TaskEvent {
  id: number;
  event: string;
  data: Record<string, unknown>;
}

export type SegmentKind = "waiting" | "prefill" | "generating" | "running" | "lost";

/** A span of a task's life, in milliseconds since 1970. */
export interface Segment {
  kind: SegmentKind;
  from: number;
  to: number;
  attempt: number | null;
}

/** One delivery of the task to a worker. */
export interface Attempt {
  number: number;
  worker: string;
  startedAt: number;
  firstTokenAt: number | null;
  endedAt: number | null;
  chunks: number;
  text: string;
  /** Why it ended without an outcome. */
  error: string | null;
}

export interface Timeline {
  queuedAt: number | null;
  attempts: Attempt[];
  segments: Segment[];
  /** `completed`, `failed` or `cancelled`; `null` while the task has not ended. */
  end: string | null;
  /** `null` also if the end's time is not known. */
  endedAt: number | null;
  /** Whether events before the first one are not kept any more. */
  isCut: boolean;
}

const ENDS = ["completed", "failed", "cancelled"];

/** Returns whether no event follows one of this name. */
export function isEnd(event: string): boolean {
  return ENDS.includes(event);
}

/**
 * Builds the timeline of a task. `now` is the queue's time, up to which an open segment extends. `seenEnd` is when the
 * end was seen to happen, if it was: the event itself has no time.
 */
export function timeline(events: readonly TaskEvent[], now: number, seenEnd: number | null): Timeline {
  const life: Timeline = {
    queuedAt: null,
    attempts: [],
    segments: [],
    end: null,
    endedAt: null,
    isCut: (events[0]?.id ?? 1) > 1,
  };
  for (const { event, data } of events) {
    const at = numberOf(data.at);
    const attempt = life.attempts.at(-1);
    if (event === "queued") life.queuedAt = at;
    else if (event === "started") life.attempts.push(newAttempt(data, at ?? now));
    else if (event === "token" && attempt) {
      attempt.firstTokenAt ??= at;
      attempt.chunks += 1;
      attempt.text += typeof data.text === "string" ? data.text : "";
    } else if (event === "requeued" && attempt) {
      attempt.endedAt = at;
      attempt.error = String(data.reason ?? "requeued");
    } else if (isEnd(event)) {
      life.end = event;
      life.endedAt = endOf(life, data) ?? seenEnd;
      if (attempt && attempt.endedAt === null) {
        attempt.endedAt = life.endedAt;
        if (event === "failed") attempt.error = errorOf(data);
      }
    }
  }
  life.segments = segments(life, life.end === null ? now : (life.endedAt ?? lastTime(events)));
  return life;
}

/** Builds the timeline of a task of a listing, which has no events. */
export function timelineOf(task: ListedTask, now: number): Timeline {
  const { submitted_at, started_at, ended_at } = task;
  const end = ended_at ?? now;
  const isFailed = task.status === "failed";
  const segments: Segment[] = [{ kind: "waiting", from: submitted_at, to: started_at ?? end, attempt: null }];
  const attempts: Attempt[] = [];
  if (started_at !== null) {
    segments.push({ kind: isFailed ? "lost" : "running", from: started_at, to: end, attempt: task.attempt });
    attempts.push({
      ...newAttempt({ attempt: task.attempt, worker: task.worker }, started_at),
      endedAt: ended_at,
      error: task.error_type ?? null,
    });
  }
  return {
    queuedAt: submitted_at,
    attempts,
    segments: segments.filter(({ from, to }) => to > from),
    end: isEnd(task.status) ? task.status : null,
    endedAt: ended_at,
    isCut: false,
  };
}

/** Returns the message of a failed result. */
export function errorOf(data: Record<string, unknown>): string {
  const [kind, message] = [data.error_type, data.error_message];
  return [kind, message].filter((part) => typeof part === "string" && part !== "").join(": ");
}

function segments(life: Timeline, end: number): Segment[] {
  const spans: Segment[] = [];
  const add = (kind: SegmentKind, from: number, to: number, attempt: number | null) => {
    if (to > from) spans.push({ kind, from, to, attempt });
  };
  let free = life.queuedAt;
  for (const attempt of life.attempts) {
    if (free !== null) add("waiting", free, attempt.startedAt, null);
    const stop = attempt.endedAt ?? Math.max(end, attempt.startedAt);
    const first = attempt.firstTokenAt ?? stop;
    if (attempt.error !== null) add("lost", attempt.startedAt, stop, attempt.number);
    else {
      add("prefill", attempt.startedAt, first, attempt.number);
      add("generating", first, stop, attempt.number);
    }
    free = attempt.endedAt;
  }
  const isOpen = life.attempts.length === 0 || life.attempts.at(-1)?.endedAt !== null;
  if (isOpen && free !== null) add("waiting", free, end, null);
  return spans;
}

function newAttempt(data: Record<string, unknown>, at: number): Attempt {
  return {
    number: numberOf(data.attempt) ?? 1,
    worker: String(data.worker ?? ""),
    startedAt: at,
    firstTokenAt: null,
    endedAt: null,
    chunks: 0,
    text: "",
    error: null,
  };
}

/** Returns when a completed task ended, by its metrics. */
function endOf(life: Timeline, data: Record<string, unknown>): number | null {
  const metrics = data.metrics as Record<string, unknown> | undefined;
  const total = numberOf(metrics?.total_time);
  if (total !== null && life.queuedAt !== null) return life.queuedAt + total * 1000;
  const processing = numberOf(metrics?.processing_time);
  const started = life.attempts.at(-1)?.startedAt;
  return processing !== null && started !== undefined ? started + processing * 1000 : null;
}

function lastTime(events: readonly TaskEvent[]): number {
  return events.reduce((last, { data }) => Math.max(last, numberOf(data.at) ?? 0), 0);
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
