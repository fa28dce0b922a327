/** The state of a queue in one word, as `qwen-queue queues` has it. Pure. */

import { LANES, type PeriodicTask, type Queue } from "./replies";

export type Kind = "good" | "busy" | "warning" | "error" | "neutral";

export interface State {
  word: string;
  kind: Kind;
}

/** Returns the number of tasks that wait, without the delayed ones. */
export function waiting(queue: Queue): number {
  return LANES.reduce((sum, lane) => sum + queue.queued[lane], 0);
}

export function queueState(queue: Queue): State {
  if (queue.paused) return { word: "paused", kind: "warning" };
  if (queue.capacity === 0 && queue.processing === 0) {
    return { word: "no worker", kind: waiting(queue) > 0 ? "error" : "neutral" };
  }
  if (queue.processing > 0) return { word: "running", kind: "busy" };
  return { word: "idle", kind: "good" };
}

export function workerState(status: string): State {
  const kinds: Record<string, Kind> = { ready: "good", loading: "busy", draining: "warning" };
  return { word: status, kind: kinds[status] ?? "neutral" };
}

export function modelState(state: string): State {
  const kinds: Record<string, Kind> = { loaded: "good", loading: "busy", unloading: "busy", failed: "error" };
  return { word: state, kind: kinds[state] ?? "neutral" };
}

export function periodicState({ enabled, problem }: PeriodicTask): State {
  if (problem !== null) return { word: "held up", kind: "error" };
  return enabled ? { word: "on", kind: "good" } : { word: "off", kind: "neutral" };
}

export function taskState(status: string): State {
  const kinds: Record<string, Kind> = {
    queued: "neutral",
    delayed: "neutral",
    processing: "busy",
    completed: "good",
    failed: "error",
    cancelled: "warning",
  };
  return { word: status, kind: kinds[status] ?? "neutral" };
}
