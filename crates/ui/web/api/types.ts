/** The bodies of the server's API that the UI reads (docs/API.md). */

export interface Submitted {
  status: string;
  task_id: string;
  message: string;
  queue_position?: number;
  eta_seconds?: { low: number; high: number };
  warnings?: string[];
}

export interface TaskStatus {
  status: "queued" | "processing" | "completed" | "failed" | "cancelled";
  task_id: string;
  message: string;
  queue_position?: number;
  eta_seconds?: { low: number; high: number };
}

export interface Metrics {
  queue_wait_time: number;
  processing_time: number;
  total_time: number;
  prompt_tokens: number;
  completion_tokens: number;
  tokens_per_second: number;
  cached_tokens?: number;
  reasoning_tokens?: number;
}

export interface ToolCall {
  id?: string;
  name?: string;
  arguments?: unknown;
  /** A malformed call has its text and the reason instead. */
  raw?: string;
  error?: string;
}

export interface Completed {
  status: "completed";
  task_id: string;
  result: string;
  finish_reason: string;
  reasoning?: string;
  tool_calls?: ToolCall[];
  metrics: Metrics;
  structured?: unknown;
  annotated_image?: string;
  annotated_images?: string[];
  warnings?: string[];
}

export interface Failed {
  status: "error";
  task_id: string;
  error_message: string;
  error_type: string;
}

export interface Cancelled {
  status: "cancelled";
  task_id: string;
  message: string;
}

export type Result = Completed | Failed | Cancelled;

export type Part =
  | { kind: "reasoning"; text: string }
  | { kind: "text"; text: string }
  | { kind: "tool_call"; call: ToolCall };

/** An event of `GET /events/{task_id}`. */
export type TaskEvent = { id: number } & (
  | { event: "queued"; data: { at: number } }
  | { event: "started"; data: { at: number; attempt: number; worker: string } }
  | { event: "token"; data: { at: number; attempt: number; text: string; parts?: Part[] } }
  | { event: "requeued"; data: { at: number; attempt: number; reason: string } }
  | { event: "completed"; data: Completed }
  | { event: "failed"; data: Failed }
  | { event: "cancelled"; data: Cancelled }
);

export interface Model {
  id: string;
  parent?: string;
  quantization?: string;
  context_length?: number;
  /** Known once a worker has loaded it. */
  input_modalities?: string[];
}

/** The JSON schema of a skill's field. */
export interface FieldSchema {
  type: "string" | "integer" | "number" | "boolean" | "object";
  description?: string;
  default?: unknown;
  enum?: string[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
}

export interface Skill {
  name: string;
  title: string;
  description: string;
  images: { min: number; max: number };
  videos: { min: number; max: number };
  outputs: string[];
  draws: boolean;
  schema: { properties: Record<string, FieldSchema>; required: string[] };
  sampling?: Record<string, unknown>;
  max_tokens?: number;
  example?: { request: Record<string, unknown>; answer: string };
}

export interface StoredBlob {
  id: string;
  size: number;
  media_type: string;
  expires_at: string;
}
