import assert from "node:assert/strict";
import { test } from "node:test";
import { bodyOf, changesOf, draftOf, NEW_KEY, problemsOf } from "./key-draft";
import type { ApiKey } from "./replies";

const KEY: ApiKey = {
  id: "key_1",
  prefix: "qq-abc",
  name: "nightly",
  owner: "acme",
  scopes: ["submit"],
  models: ["demo"],
  requests_per_minute: 60,
  tokens_per_minute: null,
  max_in_flight: null,
  tokens_per_day: 2_000_000,
  batch_tokens_per_day: null,
  highest_lane: "high",
  expires_at: 1_900_000_000_000,
  blocked: false,
  created_at: 1,
  last_used_at: null,
  metadata: { team: "a=b" },
};

test("a name is enough for a key", () => {
  assert.deepEqual(problemsOf({ ...NEW_KEY, name: " ci " }), {});
  assert.deepEqual(bodyOf({ ...NEW_KEY, name: " ci " }), { name: "ci", scopes: ["submit"], highest_lane: "high" });
});

test("a form that is opened and saved changes nothing", () => {
  assert.deepEqual(problemsOf(draftOf(KEY)), {});
  assert.deepEqual(changesOf(KEY, draftOf(KEY)), {});
});

test("only what was changed is sent, and what was emptied is cleared", () => {
  const draft = draftOf(KEY);
  const limits = { ...draft.limits, requests_per_minute: "", max_in_flight: "1_000" };
  assert.deepEqual(changesOf(KEY, { ...draft, limits, models: "\n", expires: "", metadata: "" }), {
    requests_per_minute: null,
    max_in_flight: 1000,
    models: null,
    expires_at: null,
    metadata: null,
  });
});

test("a wrong limit is a problem, and never no limit", () => {
  for (const text of ["many", "0", "-1", "1.5", "1e3", "99999999999999999"]) {
    const limits = { ...NEW_KEY.limits, tokens_per_day: text };
    assert.deepEqual(Object.keys(problemsOf({ ...NEW_KEY, name: "n", limits })), ["tokens_per_day"], text);
  }
});

test("all problems are named", () => {
  const draft = { ...NEW_KEY, scopes: [], expires: "soon", metadata: "team" };
  assert.deepEqual(Object.keys(problemsOf(draft)).sort(), ["expires_at", "metadata", "name", "scopes"]);
});
