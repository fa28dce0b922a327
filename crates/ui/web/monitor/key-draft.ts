/** The text of a form for a key, and the fields that the server gets from it. Pure. */

import { type ApiKey, type Lane, LIMITS, type Limit, type Scope } from "./replies";

/** What the fields of the form have. Limits are texts, so that a wrong number is never read as no limit. */
export interface KeyDraft {
  name: string;
  owner: string;
  scopes: Scope[];
  /** One a line. */
  models: string;
  limits: Record<Limit, string>;
  lane: Lane;
  /** A local time as `<input type="datetime-local">` has it; empty for never. */
  expires: string;
  /** `name=value`, one a line. */
  metadata: string;
}

export type Problems = Partial<Record<string, string>>;

export const LIMIT_NAMES: Record<Limit, string> = {
  requests_per_minute: "Requests per minute",
  tokens_per_minute: "Tokens per minute",
  max_in_flight: "Tasks in flight",
  tokens_per_day: "Tokens per day",
  batch_tokens_per_day: "Batch tokens per day",
};

const NO_LIMITS = Object.fromEntries(LIMITS.map((limit) => [limit, ""])) as Record<Limit, string>;

export const NEW_KEY: KeyDraft = {
  name: "",
  owner: "",
  scopes: ["submit"],
  models: "",
  limits: NO_LIMITS,
  lane: "high",
  expires: "",
  metadata: "",
};

/** Returns the form of a key. */
export function draftOf(key: ApiKey): KeyDraft {
  const limits = LIMITS.map((limit) => [limit, key[limit] === null ? "" : String(key[limit])]);
  return {
    name: key.name,
    owner: key.owner,
    scopes: key.scopes,
    models: key.models.join("\n"),
    limits: Object.fromEntries(limits) as Record<Limit, string>,
    lane: key.highest_lane,
    expires: key.expires_at === null ? "" : localTime(key.expires_at),
    metadata: Object.entries(key.metadata)
      .map(([name, value]) => `${name}=${value}`)
      .join("\n"),
  };
}

/** Returns what is wrong with a form, by the server's names of the fields. The server checks the rest. */
export function problemsOf(draft: KeyDraft): Problems {
  const problems: Problems = {};
  if (draft.name.trim() === "") problems.name = "Enter a name.";
  if (draft.scopes.length === 0) problems.scopes = "Choose at least one. To refuse the key, block it.";
  for (const limit of LIMITS) {
    if (Number.isNaN(limitOf(draft.limits[limit]))) {
      problems[limit] = "Enter a whole number from 1 on, or nothing for no limit.";
    }
  }
  if (draft.expires !== "" && Number.isNaN(Date.parse(draft.expires))) problems.expires_at = "Enter a day and a time.";
  const wrong = lines(draft.metadata).find((line) => !line.includes("="));
  if (wrong !== undefined) problems.metadata = `'${wrong}' is not name=value.`;
  return problems;
}

/** Returns the fields of a new key. What has no value is left out. */
export function bodyOf(draft: KeyDraft): Record<string, unknown> {
  const fields = { ...fieldsOf(draft), ...(draft.owner.trim() !== "" && { owner: draft.owner.trim() }) };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

/** Returns the fields that a form changes. `null` clears one. */
export function changesOf(key: ApiKey, draft: KeyDraft): Record<string, unknown> {
  const before = fieldsOf(draftOf(key));
  const after = fieldsOf(draft);
  const isSame = (name: string) => JSON.stringify(after[name]) === JSON.stringify(before[name]);
  return Object.fromEntries(Object.entries(after).filter(([name]) => !isSame(name)));
}

function fieldsOf(draft: KeyDraft): Record<string, unknown> {
  const models = lines(draft.models);
  const notes = lines(draft.metadata).map((line): [string, string] => {
    const at = line.indexOf("=");
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
  return {
    name: draft.name.trim(),
    scopes: draft.scopes,
    models: models.length > 0 ? models : null,
    ...Object.fromEntries(LIMITS.map((limit) => [limit, limitOf(draft.limits[limit])])),
    highest_lane: draft.lane,
    expires_at: draft.expires === "" ? null : new Date(draft.expires).getTime(),
    metadata: notes.length > 0 ? Object.fromEntries(notes) : null,
  };
}

/** Reads a limit: `null` for none, NaN if it is no whole number from 1 on. */
function limitOf(text: string): number | null {
  const digits = text.replaceAll(/[\s_,]/g, "");
  if (digits === "") return null;
  return /^[1-9]\d{0,15}$/.test(digits) ? Number(digits) : Number.NaN;
}

function lines(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
}

/** Formats a time as `<input type="datetime-local">` wants it. */
function localTime(at: number): string {
  const date = new Date(at);
  return new Date(at - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
