/** Turns a task's events into the lines of a list. Pure. */

import { count, plural } from "./format";
import { errorOf, isEnd, type TaskEvent } from "./timeline";

export interface EventLine {
  /** The number of the first of its events. */
  id: number;
  at: number | null;
  name: string;
  text: string;
  isBad: boolean;
}

/** Returns a line for each event; the chunks of an answer that follow each other share one. */
export function eventLines(events: readonly TaskEvent[]): EventLine[] {
  const lines: EventLine[] = [];
  let chunks: TaskEvent[] = [];
  const flush = () => {
    const first = chunks[0];
    if (first) lines.push(chunkLine(first, chunks));
    chunks = [];
  };
  for (const event of events) {
    if (event.event === "token") {
      chunks.push(event);
      continue;
    }
    flush();
    lines.push(line(event));
  }
  flush();
  return lines;
}

function line({ id, event, data }: TaskEvent): EventLine {
  const at = timeOf(data);
  const attempt = `attempt ${String(data.attempt ?? 1)}`;
  const of = (text: string, isBad = false) => ({ id, at, name: event, text, isBad });
  if (event === "queued") return of("accepted into the queue");
  if (event === "started") return of(`${attempt} on worker ${String(data.worker ?? "?")}`);
  if (event === "requeued") return of(`${attempt} ended: ${String(data.reason ?? "no reason given")}`, true);
  if (event === "failed") return of(errorOf(data), true);
  if (event === "completed") return of(completed(data));
  return of(isEnd(event) ? String(data.message ?? "") : "");
}

function completed(data: Record<string, unknown>): string {
  const metrics = (data.metrics ?? {}) as Record<string, unknown>;
  const tokens = metrics.completion_tokens;
  const reason = data.finish_reason === "length" ? "cut off by max_tokens or the context" : "";
  return [typeof tokens === "number" ? plural(tokens, "generated token") : "", reason].filter(Boolean).join(", ");
}

function chunkLine(first: TaskEvent, chunks: readonly TaskEvent[]): EventLine {
  const characters = chunks.reduce((sum, { data }) => sum + String(data.text ?? "").length, 0);
  const text = `${plural(chunks.length, "chunk")} of text, ${count(characters)} characters, events ${first.id} to ${chunks.at(-1)?.id}`;
  return { id: first.id, at: timeOf(first.data), name: "token", text, isBad: false };
}

function timeOf(data: Record<string, unknown>): number | null {
  return typeof data.at === "number" ? data.at : null;
}
