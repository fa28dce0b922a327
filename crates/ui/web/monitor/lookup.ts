/** Looks up one task with whichever key may read it, and follows its events. */

import { signal } from "@preact/signals";
import { call, type RequestOptions, send } from "../api/client";
import { ApiError } from "../api/errors";
import { follow } from "../api/follow";
import { keys, type Role } from "../state/keys";
import { now } from "./live";
import { isEnd, type TaskEvent } from "./timeline";

/** The reply of `GET /status/{task_id}`. */
export interface Status {
  status: string;
  task_id: string;
  message: string;
  model?: string;
  queue_position?: number;
  eta_seconds?: { low: number; high: number };
  metadata?: Record<string, string>;
}

/** The reply of `GET /result/{task_id}` once the task has ended. */
export interface Result {
  status: string;
  result?: string;
  reasoning?: string;
  finish_reason?: string;
  error_type?: string;
  error_message?: string;
  metrics?: Record<string, number>;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The operators' key that client routes refused: it is not tried again, since refused calls are counted. */
let useless: string | null = null;

export function isTaskId(text: string): boolean {
  return UUID.test(text);
}

/** One task that is looked at. */
export class Lookup {
  readonly status = signal<Status | null>(null);
  readonly events = signal<TaskEvent[]>([]);
  readonly result = signal<Result | null>(null);
  readonly error = signal<unknown>(null);
  readonly isConnected = signal(true);
  /** When the end was seen to happen, by the queue's clock; `null` if the task had ended before. */
  readonly seenEnd = signal<number | null>(null);
  private role: Role = "client";
  private readonly abort = new AbortController();

  constructor(readonly taskId: string) {}

  /** Reads the task and follows it to its end. */
  async start(): Promise<void> {
    try {
      await this.findStatus();
      const hadEnded = isEnd(this.status.peek()?.status ?? "");
      await follow(`/events/${this.taskId}`, {
        after: null,
        role: this.role,
        signal: this.abort.signal,
        onConnection: (isConnected) => {
          this.isConnected.value = isConnected;
        },
        onEvents: (events) => {
          const read = events.map((of) => ({ id: Number(of.id), event: of.event, data: JSON.parse(of.data) }));
          this.events.value = [...this.events.peek(), ...read];
          const isOver = read.some((of) => isEnd(of.event));
          if (isOver && !hadEnded) this.seenEnd.value = now.peek();
          return isOver;
        },
      });
      await this.readStatus(this.role);
      if (isEnd(this.status.peek()?.status ?? "")) {
        this.result.value = await call<Result>(`/result/${this.taskId}`, this.options(this.role));
      }
    } catch (error) {
      if (!this.abort.signal.aborted) this.error.value = error;
    }
  }

  /** Asks for the task to be cancelled, and returns what the server says. */
  async cancel(): Promise<string> {
    const response = await send(`/cancel/${this.taskId}`, { ...this.options(this.role), method: "POST" });
    const reply = (await response.json()) as Status;
    return reply.message;
  }

  stop(): void {
    this.abort.abort();
  }

  /** Reads the status with the client's key, and if that does not open the task with the operators'. */
  private async findStatus(): Promise<void> {
    if (keys.client.peek() !== null) {
      try {
        return await this.readStatus("client");
      } catch (error) {
        if (!mayOpenWithAnother(error) || !mayTryOperators()) throw error;
      }
    }
    if (!mayTryOperators()) throw new ApiError(403, NO_KEY);
    try {
      await this.readStatus("admin");
    } catch (error) {
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
        useless = keys.admin.peek();
        throw new ApiError(error.status, keys.client.peek() === null ? NO_KEY : NOT_FOUND);
      }
      throw error;
    }
  }

  private async readStatus(role: Role): Promise<void> {
    this.status.value = await call<Status>(`/status/${this.taskId}`, this.options(role));
    this.role = role;
  }

  private options(role: Role): RequestOptions {
    // A key that is named is not noted as refused: the operators' may well not read tasks.
    return { role, key: keys[role].peek() ?? undefined, signal: this.abort.signal };
  }
}

const NO_KEY = "The operators’ key does not read tasks. Enter a key of the task’s owner.";
const NOT_FOUND = "The key in use does not open a task with this id: it belongs to another owner, or never existed.";

function mayOpenWithAnother(error: unknown): boolean {
  return error instanceof ApiError && [401, 403, 404].includes(error.status);
}

function mayTryOperators(): boolean {
  return keys.admin.peek() !== null && keys.admin.peek() !== useless;
}
