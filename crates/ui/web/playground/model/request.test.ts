import assert from "node:assert/strict";
import { test } from "node:test";
import { attachmentsFor, callFor } from "./request";
import { defaultSettings } from "./settings";
import { curl, python, pythonLiteral } from "./snippets";
import { addNode, newAnswer, newConversation, newQuestion } from "./tree";
import type { Answer, Attachment, Conversation, Settings } from "./types";

const PICTURE: Attachment = { id: "f", kind: "image", name: "a.png", type: "image/png", size: 1 };

/** A conversation of a question with a picture, its answer, and a second question. */
function conversation(
  settings: Settings,
  first: Partial<Answer> = { text: "One." },
): { one: Conversation; answer: Answer } {
  const old = newAnswer({ id: "a1", parent: "q1", column: 0, at: 0, settings });
  const answer = newAnswer({ id: "a2", parent: "q2", column: 0, at: 0, settings });
  const nodes = [
    newQuestion({ id: "q1", parent: null, at: 0, text: "First?", attachments: [PICTURE] }),
    { ...old, ...first },
    newQuestion({ id: "q2", parent: "a1", at: 0, text: "Second?", attachments: [] }),
    answer,
  ];
  return { one: nodes.reduce(addNode, newConversation("c", 0, [settings])), answer };
}

const BLOBS = new Map([["f", "blob-1"]]);

test("writes the whole conversation, and only the settings that are set", () => {
  const { one, answer } = conversation({ ...defaultSettings(), system: "Be brief.", topK: 20, thinking: "on" });
  assert.deepEqual(attachmentsFor(one, answer), [PICTURE]);
  assert.deepEqual(callFor(one, answer, BLOBS), {
    path: "/generate",
    body: {
      messages: [
        { role: "system", content: "Be brief." },
        {
          role: "user",
          content: [
            { type: "image_url", image_url: { url: "blob-1" } },
            { type: "text", text: "First?" },
          ],
        },
        { role: "assistant", content: "One." },
        { role: "user", content: "Second?" },
      ],
      top_k: 20,
      enable_thinking: true,
    },
  });
});

test("leaves out turns without an answer, and sends earlier calls", () => {
  const failed = conversation(defaultSettings(), { phase: "failed" });
  assert.deepEqual(callFor(failed.one, failed.answer, new Map()).body.messages, [{ role: "user", content: "Second?" }]);
  const called = conversation(defaultSettings(), { toolCalls: [{ id: "c1", name: "f", arguments: { x: 1 } }] });
  const messages = callFor(called.one, called.answer, BLOBS).body.messages as Record<string, unknown>[];
  assert.deepEqual(messages[1], {
    role: "assistant",
    content: "",
    tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: '{"x":1}' } }],
  });
});

test("asks a skill with its fields and without earlier turns", () => {
  const { one, answer } = conversation({ ...defaultSettings(), skill: { name: "ocr", values: { level: "word" } } });
  assert.deepEqual(attachmentsFor(one, answer), []);
  assert.deepEqual(callFor(one, answer, new Map()), {
    path: "/api/v1/skills/ocr",
    body: { prompt: "Second?", level: "word" },
  });
});

test("quotes for the shell and for Python", () => {
  const call = { path: "/generate", body: { prompt: `It's "x" $HOME \\ ☃`, raw: true, stop: [], top_k: null } };
  assert.ok(curl(call, "http://h").includes(`"prompt": "It'\\''s \\"x\\" $HOME \\\\ ☃"`));
  assert.ok(python(call, "http://h").includes('URL = "http://h"'));
  assert.equal(
    pythonLiteral(call.body),
    '{\n    "prompt": "It\'s \\"x\\" $HOME \\\\ ☃",\n    "raw": True,\n    "stop": [],\n    "top_k": None,\n}',
  );
});
