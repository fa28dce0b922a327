/** The state and the limits of a key in words. Pure. */

import { shortCount } from "./format";
import type { State } from "./queue-state";
import { type ApiKey, LIMITS, type Limit } from "./replies";

const UNITS: Record<Limit, string> = {
  requests_per_minute: "requests/min",
  tokens_per_minute: "tokens/min",
  max_in_flight: "in flight",
  tokens_per_day: "tokens/day",
  batch_tokens_per_day: "batch tokens/day",
};

export function keyState(key: ApiKey, at: number): State {
  if (key.blocked) return { word: "blocked", kind: "error" };
  if (key.expires_at !== null && key.expires_at <= at) return { word: "expired", kind: "warning" };
  return { word: "active", kind: "good" };
}

/** Returns the limits that hold for a key. */
export function limitsOf(key: ApiKey): string[] {
  const limits = LIMITS.flatMap((limit) => {
    const value = key[limit];
    return value === null ? [] : [`${shortCount(value)} ${UNITS[limit]}`];
  });
  return key.highest_lane === "high" ? limits : [...limits, `lane ${key.highest_lane} at most`];
}
