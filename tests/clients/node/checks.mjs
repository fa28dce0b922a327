// Named checks of one client script: declare them with `check(name, function)`, then `await main()`.
import assert from "node:assert/strict";

export const { QWEN_BASE: BASE, QWEN_KEY: KEY, QWEN_MODEL: MODEL, QWEN_EMBEDDING_MODEL: EMBEDDING_MODEL, QWEN_SLOW_MODEL: SLOW_MODEL } =
  process.env;
export const QUESTION = "How do I add a worker?";
export const WEATHER = {
  name: "get_weather",
  description: "Returns the weather of a city.",
  parameters: {
    type: "object",
    properties: { city: { type: "string", enum: ["Paris", "Berlin"] }, days: { type: "integer", enum: [1, 2, 3] } },
    required: ["city", "days"],
    additionalProperties: false,
  },
};
export { assert };

const checks = [];

export function check(name, body) {
  checks.push([name, body]);
}

/** Ends a check that this server lacks something for. */
export class Skipped extends Error {}

export function needed(model, variable) {
  if (!model) throw new Skipped(`set ${variable}`);
  return model;
}

/** Checks a call of WEATHER against its schema. */
export function weather(args) {
  const value = typeof args === "string" ? JSON.parse(args) : args;
  assert.ok(["Paris", "Berlin"].includes(value.city) && [1, 2, 3].includes(value.days), JSON.stringify(value));
}

export async function until(what, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  while (Date.now() < deadline) {
    const value = await what();
    if (value) return value;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`not within ${seconds} s`);
}

export async function main() {
  const counts = { passed: 0, skipped: 0, failed: 0 };
  for (const [name, body] of checks) {
    if (process.argv.length > 2 && !process.argv.slice(2).includes(name)) continue;
    const began = Date.now();
    let outcome = "passed";
    let why = "";
    try {
      await body();
    } catch (error) {
      outcome = error instanceof Skipped ? "skipped" : "failed";
      why = `: ${error.name}: ${String(error.message).slice(0, 600)}`;
      if (outcome === "failed") console.error(error.stack);
    }
    counts[outcome] += 1;
    console.log(`${outcome} ${name} (${((Date.now() - began) / 1000).toFixed(2)} s)${why}`);
  }
  const skipped = counts.skipped ? `, ${counts.skipped} skipped` : "";
  console.log(`${counts.passed} passed${skipped}, ${counts.failed} failed`);
  process.exit(counts.failed || !counts.passed ? 1 : 0);
}
