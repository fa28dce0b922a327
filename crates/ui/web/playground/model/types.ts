/** What the playground keeps: conversations as trees of questions and answers. Plain data, stored as it is. */

import type { Metrics, ToolCall } from "../../api/types";

/** The side of a comparison: 0 is the left one, or the only one. */
export type Column = 0 | 1;

export interface Attachment {
  id: string;
  kind: "image" | "video";
  name: string;
  /** The media type. */
  type: string;
  size: number;
  /** In pixels, as shown; missing if the browser can't decode the file. */
  width?: number;
  height?: number;
}

/** How answers are asked for. What is missing is left to the server. */
export interface Settings {
  model: string | null;
  system: string;
  temperature?: number;
  topP?: number;
  topK?: number;
  maxTokens?: number;
  seed?: number;
  priority: "high" | "normal" | "low" | "batch";
  thinking: "default" | "on" | "off";
  /** A JSON array of functions, as the user wrote it. */
  tools: string;
  skill: SkillChoice | null;
}

export interface SkillChoice {
  name: string;
  /** The values of the fields that the user set. */
  values: Record<string, unknown>;
}

export interface Question {
  kind: "question";
  id: string;
  /** The answer (of column 0) that it follows; `null` for the first question. */
  parent: string | null;
  at: number;
  text: string;
  attachments: Attachment[];
}

/** `sending`: not yet accepted by the server. The last three are ends. */
export type Phase = "sending" | "queued" | "processing" | "completed" | "failed" | "cancelled";

export interface Failure {
  /** The server's `error_type` or `code`, or `connection`, `refused`. */
  type: string;
  message: string;
  /** Seconds until a retry may succeed. */
  retryAfter?: number;
}

/** The request that asked for an answer. */
export interface Call {
  path: string;
  body: Record<string, unknown>;
}

export interface Answer {
  kind: "answer";
  id: string;
  /** The question. */
  parent: string;
  column: Column;
  at: number;
  settings: Settings;
  phase: Phase;
  call: Call | null;
  taskId: string | null;
  /** The id of the last event that this state has; the stream goes on after it. */
  lastEvent: number;
  attempt: number;
  text: string;
  reasoning: string;
  reasoningStartedAt?: number;
  reasoningEndedAt?: number;
  toolCalls: ToolCall[];
  queuePosition?: number;
  eta?: { low: number; high: number };
  finishReason?: string;
  metrics?: Metrics;
  /** What a skill read in the text; `null` if it could not. Missing without a skill. */
  structured?: unknown;
  /** Paths of pictures on which the server drew the answer. */
  annotated?: string[];
  warnings: string[];
  failure?: Failure;
}

export type Node = Question | Answer;

export interface Conversation {
  id: string;
  title: string;
  createdAt: number;
  updatedAt: number;
  nodes: Record<string, Node>;
  /** The nodes of each slot in the order in which they came; see `tree.ts`. */
  children: Record<string, string[]>;
  /** The shown node of each slot, if it is not the last one. */
  picks: Record<string, string>;
  /** The settings of each column: two while models are compared. */
  columns: Settings[];
}
