/** Settings of answers, and their defaults. */

import type { Settings } from "./types";

export function defaultSettings(): Settings {
  return { model: null, system: "", priority: "normal", thinking: "default", tools: "", skill: null };
}

/** What the server uses if a request says nothing and the model recommends nothing (docs/API.md). */
export const SERVER_DEFAULTS = { temperature: 0.7, topP: 0.9, maxTokens: 512 } as const;

export const BOUNDS = {
  temperature: { min: 0, max: 2, step: 0.05 },
  topP: { min: 0.01, max: 1, step: 0.01 },
  topK: { min: -1, max: 4294967295, step: 1 },
  maxTokens: { min: -1, max: 1048576, step: 1 },
  /** Larger seeds are not exact as JavaScript's numbers. */
  seed: { min: -1, max: Number.MAX_SAFE_INTEGER, step: 1 },
} as const;

/** Returns how many settings differ from the defaults, of those in the panel below model and skill. */
export function countChanged(settings: Settings): number {
  const { temperature, topP, topK, maxTokens, seed, system, tools, priority, thinking } = settings;
  const numbers = [temperature, topP, topK, maxTokens, seed].filter((value) => value !== undefined).length;
  const others = [system.trim() !== "", tools.trim() !== "", priority !== "normal", thinking !== "default"];
  return numbers + others.filter(Boolean).length;
}

/** Reads the functions that the user wrote. Returns an error for people if they are not a JSON array. */
export function readTools(text: string): { tools: unknown[] } | { problem: string } {
  if (text.trim() === "") return { tools: [] };
  try {
    const tools: unknown = JSON.parse(text);
    return Array.isArray(tools) ? { tools } : { problem: "Tools are a JSON array of functions." };
  } catch (error) {
    return { problem: `Tools are not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** Returns the settings that are not the defaults in few words, such as "temperature 0, seed 7". */
export function describeChanged(settings: Settings): string {
  const named: [string, unknown][] = [
    ["temperature", settings.temperature],
    ["top p", settings.topP],
    ["top k", settings.topK],
    ["at most", settings.maxTokens === undefined ? undefined : `${settings.maxTokens} tokens`],
    ["seed", settings.seed],
    ["thinking", settings.thinking === "default" ? undefined : settings.thinking],
    ["priority", settings.priority === "normal" ? undefined : settings.priority],
    ["with", settings.system.trim() ? "a system prompt" : undefined],
  ];
  const set = named.filter(([, value]) => value !== undefined);
  return set.map(([name, value]) => `${name} ${String(value)}`).join(", ");
}
