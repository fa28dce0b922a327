/** The replies of the operators' routes, as `docs/API.md` describes them. Times are milliseconds since 1970. */

export const LANES = ["high", "normal", "low", "batch"] as const;
export type Lane = (typeof LANES)[number];

export interface Queue {
  model: string;
  paused: boolean;
  /** Tasks that wait, without the delayed ones. */
  queued: Record<Lane, number>;
  delayed: number;
  processing: number;
  capacity: number;
  /** Moving average of processing times; null while nothing was measured. */
  service_seconds: number | null;
  completed: number;
  failed: number;
  cancelled: number;
}

export interface Batch {
  batch_id: string;
  tenant: string;
  endpoint: string;
  status: string;
  /** 0 until the lines are checked. */
  total: number;
  completed: number;
  failed: number;
  created_at: number;
  expires_at: number;
}

export interface Gpu {
  id: number;
  memory_used_bytes: number;
  memory_total_bytes: number;
  utilization_percent: number;
}

export interface ServedModel {
  model: string;
  /** The base of a LoRA adapter. */
  parent?: string;
  quantization: string;
  state: string;
  running: number;
  capacity: number;
  memory_bytes: number;
  load_seconds: number | null;
  /** Why it can't be loaded. */
  problem?: string | null;
}

export interface Worker {
  id: string;
  host: string;
  pid: number;
  version: string;
  model: string;
  quantization: string;
  device: string;
  status: string;
  running: number;
  capacity: number;
  finished: number;
  /** By the worker's own clock. */
  started_at: number;
  /** By the queue's clock. */
  last_seen: number | null;
  log_lines_lost: number;
  gpus?: Gpu[];
  models: ServedModel[];
}

export interface Overview {
  /** By the queue's clock. */
  at: number;
  version: string;
  queues: Queue[];
  queued_bytes: number;
  dead_letters: number;
  webhooks_pending: number;
  batches_running: number;
  batches: Batch[];
  workers: Worker[];
}

/** One model in one interval of the history. The counts are of tasks that ended within it. */
export interface ModelPoint {
  model: string;
  queued: number;
  delayed: number;
  processing: number;
  capacity: number;
  completed: number;
  failed: number;
  cancelled: number;
  service_seconds: number | null;
}

export interface HistoryPoint {
  /** The end of the interval. */
  at: number;
  models: ModelPoint[];
  workers: number;
}

export interface History {
  interval_seconds: number;
  points: HistoryPoint[];
}

export interface Failure {
  attempt: number;
  worker: string;
  at: number;
  error_type: string;
  error_message: string;
}

export interface DeadLetter {
  task_id: string;
  model: string;
  error_type: string;
  error_message: string;
  failures: Failure[];
  submitted_at: number;
  died_at: number;
  /** The whole task; only in the reply for one letter. */
  task?: unknown;
}

export interface DeadLetterPage {
  dead_letters: DeadLetter[];
  next_before: number | null;
}

export const TASK_STATES = ["queued", "delayed", "processing", "completed", "failed", "cancelled"] as const;
export type TaskState = (typeof TASK_STATES)[number];

/** A task of a listing, without what was asked and answered. */
export interface ListedTask {
  task_id: string;
  status: TaskState;
  model: string;
  lane: Lane;
  tenant: string;
  user_id: string | null;
  submitted_at: number;
  started_at: number | null;
  ended_at: number | null;
  attempt: number;
  worker?: string;
  /** While it is delayed, when it is due. */
  run_at?: number;
  cancel_requested?: boolean;
  /** Once it has ended, in seconds. */
  queue_wait_time?: number;
  processing_time?: number;
  error_type?: string;
}

export interface TaskPage {
  /** May be short, or empty, although more follow. */
  tasks: ListedTask[];
  next_cursor: string | null;
}

export interface Replayed {
  task_id: string;
  status: string;
  replayed: string;
}

export interface PeriodicTask {
  name: string;
  cron: string;
  timezone: string;
  owner: string | null;
  /** What happens to missed occurrences: skip, once or all. */
  missed: string;
  enabled: boolean;
  next_at: number | null;
  last: LatestRun | null;
  /** Tasks submitted, and occurrences skipped, so far. */
  runs: number;
  skipped: number;
  /** What prevents the next task. */
  problem: string | null;
}

export interface LatestRun {
  task_id: string;
  /** Null once its result has expired. */
  status: string | null;
  submitted_at: number;
  /** Whether an operator asked for it. */
  manual: boolean;
}

export interface Schedule {
  /** Whether the gateway has a schedule at all. */
  configured: boolean;
  tasks: PeriodicTask[];
}

/** A task that an operator asked for. */
export interface PeriodicRun {
  name: string;
  task_id: string;
}

export const LIMITS = [
  "requests_per_minute",
  "tokens_per_minute",
  "max_in_flight",
  "tokens_per_day",
  "batch_tokens_per_day",
] as const;
export type Limit = (typeof LIMITS)[number];

export const SCOPES = ["submit", "read", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

export interface ApiKey extends Record<Limit, number | null> {
  id: string;
  /** The start of its text. */
  prefix: string;
  name: string;
  owner: string;
  scopes: Scope[];
  /** Empty for all. */
  models: string[];
  highest_lane: Lane;
  expires_at: number | null;
  blocked: boolean;
  created_at: number;
  last_used_at: number | null;
  metadata: Record<string, string>;
}

/** The reply that creates or rotates a key: the only one with its text. */
export type ApiKeyWithText = ApiKey & { key: string };

export interface ApiKeyPage {
  keys: ApiKey[];
  next: string | null;
}

export const AMOUNTS = [
  "requests",
  "errors",
  "cancelled",
  "prompt_tokens",
  "cached_tokens",
  "completion_tokens",
  "images",
  "wait_s",
  "compute_s",
] as const;
export type Amount = (typeof AMOUNTS)[number];

export const GROUPS = ["day", "owner", "key", "model"] as const;
export type Group = (typeof GROUPS)[number];

export type UsageRow = Record<Amount, number> & Partial<Record<Group, string>>;

export interface Usage {
  from: string;
  to: string;
  group_by: Group[];
  rows: UsageRow[];
  total: Record<Amount, number>;
}
