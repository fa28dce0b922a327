/** Follows a stream of server-sent events through lost connections, by `Last-Event-ID`. */

import { type RequestOptions, send } from "./client";
import { ApiError } from "./errors";
import { EventParser, type ServerEvent } from "./sse-parser";

export interface FollowOptions {
  /** The id of the last event that is known; the stream goes on after it. */
  after: string | null;
  signal: AbortSignal;
  /** Takes the events in order. Returns whether the last one ends the stream. */
  onEvents: (events: ServerEvent[]) => boolean;
  /** Called with `false` when the connection is lost, and with `true` when events arrive again. */
  onConnection?: (isConnected: boolean) => void;
  role?: RequestOptions["role"];
}

/** The server sends a comment every 10 s of silence; a connection that is silent for longer is dead. */
const SILENCE_MS = 30_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

/** How a stream ended: by its last event, or by a 204, which says that no event follows the known ones. */
export type StreamEnd = "ended" | "nothing-left";

/**
 * Follows a stream until it ends. Connects again, with growing pauses, for as long as it takes. Rejects with an
 * `ApiError` if the server refuses for good, and with the signal's reason if it is aborted.
 */
export async function follow(path: string, options: FollowOptions): Promise<StreamEnd> {
  let after = options.after;
  let pause = FIRST_PAUSE_MS;
  const take = (events: ServerEvent[]): boolean => {
    pause = FIRST_PAUSE_MS;
    after = events.at(-1)?.id ?? after;
    return options.onEvents(events);
  };
  for (;;) {
    let wait = pause;
    try {
      const end = await readOnce(path, after, options, take);
      if (end !== null) return end;
    } catch (error) {
      options.signal.throwIfAborted();
      if (error instanceof ApiError && !isTransient(error)) throw error;
      if (error instanceof ApiError && error.retryAfter !== null) wait = Math.max(wait, error.retryAfter * 1000);
    }
    options.onConnection?.(false);
    await sleepUntilOnline(wait, options.signal);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

/** Reads one connection. Returns how the stream ended, or `null` if the connection ended before it. */
async function readOnce(
  path: string,
  after: string | null,
  options: FollowOptions,
  take: (events: ServerEvent[]) => boolean,
): Promise<StreamEnd | null> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const signal = AbortSignal.any([options.signal, silence.signal]);
    const headers: Record<string, string> = after === null ? {} : { "Last-Event-ID": after };
    const response = await send(path, { headers, signal, role: options.role });
    if (response.status === 204) return "nothing-left";
    options.onConnection?.(true);
    const parser = new EventParser();
    const decoder = new TextDecoder();
    const reader = response.body?.getReader();
    for (;;) {
      const piece = await reader?.read();
      if (!piece || piece.done) return null;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      const events = parser.push(decoder.decode(piece.value, { stream: true }));
      if (events.length > 0 && take(events)) {
        await reader?.cancel().catch(() => undefined);
        return "ended";
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

function isTransient(error: ApiError): boolean {
  return error.status === 408 || error.status === 429 || error.status >= 500;
}

/** Sleeps, but no longer than until the browser is online again or the signal is aborted. */
export function sleepUntilOnline(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}
