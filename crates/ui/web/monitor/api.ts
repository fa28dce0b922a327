/** The operators' routes, with the operators' key. */

import { call } from "../api/client";
import { ApiError } from "../api/errors";
import type {
  ApiKey,
  ApiKeyPage,
  ApiKeyWithText,
  DeadLetter,
  DeadLetterPage,
  Group,
  History,
  ListedTask,
  Overview,
  PeriodicRun,
  Replayed,
  Schedule,
  TaskPage,
  Usage,
} from "./replies";

const role = "admin";
/** The largest page that the server returns. */
const PAGE = 100;
const LARGEST_TASK_PAGE = 500;

export function getOverview(signal: AbortSignal): Promise<Overview> {
  return call("/admin/overview", { role, signal });
}

/** Returns the history of the latest minutes. */
export function getHistory(minutes: number, signal: AbortSignal): Promise<History> {
  return call(`/admin/history?minutes=${minutes}`, { role, signal });
}

export function setPaused(model: string, paused: boolean): Promise<unknown> {
  return call(paused ? "/admin/pause" : "/admin/resume", { role, method: "POST", json: { model } });
}

export function drainWorker(id: string): Promise<unknown> {
  return call(`/admin/workers/${encodeURIComponent(id)}/drain`, { role, method: "POST" });
}

/** Which tasks to list; empty texts do not select. */
export interface TaskQuery {
  state: string;
  model: string;
  lane: string;
  tenant: string;
  /** Only tasks that were submitted less than this many seconds ago. */
  newer_than: string;
}

/** Some tasks, the newest first. */
export interface Tasks {
  tasks: ListedTask[];
  hasMore: boolean;
}

/** How many pages are read at once to find as many tasks as are wanted. */
const MOST_PAGES = 10;

/** Returns the newest tasks that match, or `null` if the gateway is of a version that lists none. */
export async function getTasks(query: TaskQuery, wanted: number, signal: AbortSignal): Promise<Tasks | null> {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""));
  const tasks: ListedTask[] = [];
  let hasMore = true;
  for (let page = 0; hasMore && tasks.length < wanted && page < MOST_PAGES; page += 1) {
    given.set("limit", String(Math.min(wanted - tasks.length, LARGEST_TASK_PAGE)));
    try {
      const answer: TaskPage = await call(`/admin/tasks?${given}`, { role, signal });
      tasks.push(...answer.tasks);
      hasMore = answer.next_cursor !== null;
      given.set("cursor", answer.next_cursor ?? "");
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    }
  }
  return { tasks, hasMore };
}

/** How many queued tasks matched, and how many of them were cancelled. */
export interface Cancelled {
  matched: number;
  cancelled: number;
}

/** Cancels the queued tasks that match, or only counts them. The server cancels a part of many in a request. */
export async function cancelQueued(query: TaskQuery, isDryRun: boolean): Promise<Cancelled> {
  const filter: Record<string, unknown> = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== ""));
  if (query.newer_than !== "") filter.newer_than = Number(query.newer_than);
  const json = { ...filter, dry_run: isDryRun, ...(Object.keys(filter).length === 0 && { all: true }) };
  const sum = { matched: 0, cancelled: 0 };
  let cursor: string | null = null;
  do {
    const part: Cancelled & { next_cursor: string | null } = await call("/admin/tasks/cancel", {
      role,
      method: "POST",
      json: cursor === null ? json : { ...json, cursor },
    });
    sum.matched += part.matched;
    sum.cancelled += part.cancelled;
    cursor = part.next_cursor;
  } while (cursor !== null);
  return sum;
}

export function getSchedule(signal: AbortSignal): Promise<Schedule> {
  return call("/admin/schedule", { role, signal });
}

/** Submits a task of a periodic task now. */
export function runPeriodic(name: string): Promise<PeriodicRun> {
  return call(`/admin/schedule/${encodeURIComponent(name)}/run`, { role, method: "POST" });
}

/** Returns dead letters, the latest first, and where the next page begins. */
export function getDeadLetters(before: number | null, signal?: AbortSignal): Promise<DeadLetterPage> {
  const query = new URLSearchParams({ limit: String(PAGE) });
  if (before !== null) query.set("before", String(before));
  return call(`/admin/dead-letters?${query}`, { role, signal });
}

export function getDeadLetter(taskId: string, signal?: AbortSignal): Promise<DeadLetter> {
  return call(letterPath(taskId), { role, signal });
}

export function replayDeadLetter(taskId: string): Promise<Replayed> {
  return call(`${letterPath(taskId)}/replay`, { role, method: "POST" });
}

export function deleteDeadLetter(taskId: string): Promise<{ deleted: number }> {
  return call(letterPath(taskId), { role, method: "DELETE" });
}

/** Deletes all dead letters of a model, or all. */
export function purgeDeadLetters(model: string | null): Promise<{ deleted: number }> {
  const query = new URLSearchParams(model === null ? { all: "true" } : { model });
  return call(`/admin/dead-letters?${query}`, { role, method: "DELETE" });
}

/** Returns all keys, the oldest first. */
export async function getKeys(signal?: AbortSignal): Promise<ApiKey[]> {
  const keys: ApiKey[] = [];
  let after: string | null = null;
  do {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (after !== null) query.set("after", after);
    const page: ApiKeyPage = await call(`/admin/keys?${query}`, { role, signal });
    keys.push(...page.keys);
    after = page.next;
  } while (after !== null);
  return keys;
}

export function createKey(fields: Record<string, unknown>): Promise<ApiKeyWithText> {
  return call("/admin/keys", { role, method: "POST", json: fields });
}

/** Changes the given fields; `null` clears one. */
export function changeKey(id: string, fields: Record<string, unknown>): Promise<ApiKey> {
  return call(keyPath(id), { role, method: "PATCH", json: fields });
}

export function rotateKey(id: string): Promise<ApiKeyWithText> {
  return call(`${keyPath(id)}/rotate`, { role, method: "POST" });
}

export function revokeKey(id: string): Promise<unknown> {
  return call(keyPath(id), { role, method: "DELETE" });
}

export interface UsageQuery {
  from: string;
  to: string;
  groups: readonly Group[];
  owner: string;
}

export function getUsage({ from, to, groups, owner }: UsageQuery, signal?: AbortSignal): Promise<Usage> {
  const query = new URLSearchParams({ from, to, group_by: groups.join(",") });
  if (owner !== "") query.set("owner", owner);
  return call(`/admin/usage?${query}`, { role, signal });
}

function letterPath(taskId: string): string {
  return `/admin/dead-letters/${encodeURIComponent(taskId)}`;
}

function keyPath(id: string): string {
  return `/admin/keys/${encodeURIComponent(id)}`;
}
