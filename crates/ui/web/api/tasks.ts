/** Tasks: submit, follow, look at, cancel. */

import { call } from "./client";
import { ApiError } from "./errors";
import { follow, type StreamEnd } from "./follow";
import type { ServerEvent } from "./sse-parser";
import type { Result, Submitted, TaskEvent, TaskStatus } from "./types";

/** Submits a task. With the same key and body again, the server returns the task of the first request. */
export function submit(path: string, body: unknown, idempotencyKey: string, signal: AbortSignal): Promise<Submitted> {
  return call(path, { method: "POST", json: body, headers: { "Idempotency-Key": idempotencyKey }, signal });
}

export function status(taskId: string, signal: AbortSignal): Promise<TaskStatus> {
  return call(`/status/${taskId}`, { signal });
}

export function result(taskId: string, signal: AbortSignal): Promise<Result> {
  return call(`/result/${taskId}`, { signal });
}

export function cancel(taskId: string): Promise<TaskStatus> {
  return call(`/cancel/${taskId}`, { method: "POST" });
}

export interface TaskFollowing {
  /** The id of the last event that is known, or 0. */
  after: number;
  signal: AbortSignal;
  onEvents: (events: TaskEvent[]) => void;
  onConnection?: (isConnected: boolean) => void;
}

const ENDS = ["completed", "failed", "cancelled"];

/** Follows a task's events until it has ended, through lost connections. */
export function followTask(taskId: string, following: TaskFollowing): Promise<StreamEnd> {
  return follow(`/events/${taskId}`, {
    after: following.after > 0 ? String(following.after) : null,
    signal: following.signal,
    onConnection: following.onConnection,
    onEvents: (received) => {
      const events = received.map(readEvent);
      following.onEvents(events);
      return events.some(({ event }) => ENDS.includes(event));
    },
  });
}

function readEvent({ id, event, data }: ServerEvent): TaskEvent {
  try {
    return { id: Number(id), event, data: JSON.parse(data) } as TaskEvent;
  } catch {
    throw new ApiError(400, `The event '${event}' of the server is not JSON.`);
  }
}
