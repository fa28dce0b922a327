import assert from "node:assert/strict";
import { test } from "node:test";
import type { Skill } from "../../api/types";
import { checkQuestion, readField } from "./check";
import { fileName, fromJson, toJson, toMarkdown } from "./export";
import { itemsOfSkill, itemsOfText } from "./marks";
import { find } from "./search";
import { defaultSettings } from "./settings";
import { splitThinking } from "./thinking";
import { addNode, newAnswer, newConversation, newQuestion } from "./tree";
import type { Attachment, Conversation } from "./types";

const PICTURE: Attachment = {
  id: "f",
  kind: "image",
  name: "a.png",
  type: "image/png",
  size: 1,
  width: 640,
  height: 480,
};

function conversation(): Conversation {
  const settings = { ...defaultSettings(), model: "demo" };
  const question = newQuestion({ id: "q", parent: null, at: 0, text: "Wo ist der Hund?", attachments: [PICTURE] });
  const answer = newAnswer({ id: "a", parent: "q", column: 0, at: 0, settings });
  const answered = { ...answer, phase: "completed" as const, text: "Im **Garten**, hinter dem Haus." };
  return addNode(addNode(newConversation("c", 0, [settings]), question), answered);
}

test("reads boxes, points, several shapes and actions of skills", () => {
  const items = itemsOfSkill([
    { bbox_2d: [1, 2, 3, 4], label: "dog", pixels: { box: [30, 40, 10, 20] } },
    {
      point_2d: [1, 2],
      label: "cat",
      img_idx: 1,
      pixels: {
        points: [
          [1, 2],
          [3, 4],
        ],
      },
    },
    { name: "computer_use", arguments: { action: "left_click", coordinate: [9, 9] }, pixels: { coordinate: [5, 6] } },
    { start_time: "00:01", end_time: "00:03", description: "A circle", start_s: 1, end_s: 3.5 },
  ]);
  assert.deepEqual(items[0], {
    label: "dog",
    detail: "",
    picture: 0,
    shapes: [{ kind: "box", box: [10, 20, 30, 40] }],
  });
  assert.deepEqual([items[1]?.picture, items[1]?.shapes.length], [1, 2]);
  assert.deepEqual([items[2]?.label, items[2]?.shapes], ["left_click", [{ kind: "point", point: [5, 6] }]]);
  assert.deepEqual([items[3]?.label, items[3]?.detail], ["A circle", "1.0 to 3.5 s"]);
  assert.equal(
    itemsOfSkill({ elements: [{ tag: "h1", text: "Title", pixels: { box: [1, 2, 3, 4] } }] })[0]?.label,
    "Title",
  );
  assert.deepEqual(itemsOfSkill("text"), []);
});

test("reads Qwen's JSON in a chat, relative to 1000", () => {
  const text = 'Here:\n```json\n[{"bbox_2d": [100, 250, 500, 750], "label": "dog"}]\n```';
  assert.deepEqual(itemsOfText(text, [PICTURE])[0]?.shapes, [{ kind: "box", box: [64, 120, 320, 360] }]);
  assert.deepEqual(itemsOfText(text, []), []);
  assert.deepEqual(itemsOfText('"bbox_2d" is a key', [PICTURE]), []);
});

test("splits what a model thought", () => {
  assert.deepEqual(splitThinking("<think>\nhm\n</think>\n\nYes."), { reasoning: "hm", text: "Yes.", isOpen: false });
  assert.deepEqual(splitThinking("hm</think>Yes."), { reasoning: "hm", text: "Yes.", isOpen: false });
  assert.deepEqual(splitThinking("<think>hm"), { reasoning: "hm", text: "", isOpen: true });
  assert.deepEqual(splitThinking("Yes."), { reasoning: "", text: "Yes.", isOpen: false });
});

test("finds all words, in any text of a conversation", () => {
  assert.equal(find(conversation(), "hund"), "");
  assert.match(find(conversation(), "garten hund") ?? "", /Garten/);
  assert.equal(find(conversation(), "hund katze"), null);
});

test("exports what it imports, and refuses other files", () => {
  const text = toJson(conversation(), { f: "data:image/png;base64,AA==" }, new Date(0));
  assert.deepEqual(fromJson(text), { conversation: conversation(), files: { f: "data:image/png;base64,AA==" } });
  for (const wrong of [
    "no JSON",
    "[]",
    "{}",
    text.replace('"version": 1', '"version": 2'),
    text.replace('"kind": "answer"', '"kind": "x"'),
  ]) {
    assert.throws(() => fromJson(wrong), Error);
  }
});

test("writes Markdown", () => {
  assert.equal(
    toMarkdown(conversation()),
    "# Wo ist der Hund?\n\n## Question\n\n*Attached: a.png*\n\nWo ist der Hund?\n\n## Answer of demo\n\nIm **Garten**, hinter dem Haus.\n",
  );
  assert.equal(fileName(conversation(), "md"), "wo-ist-der-hund.md");
  assert.equal(fileName({ ...conversation(), title: "../ ☃" }, "md"), "conversation.md");
});

test("says what a skill lacks", () => {
  const skill = {
    name: "find",
    title: "Find",
    images: { min: 1, max: 2 },
    videos: { min: 0, max: 0 },
    schema: { properties: { prompt: { type: "string" }, objects: { type: "string" } }, required: ["objects"] },
  } as unknown as Skill;
  const one = newConversation("c", 0, [{ ...defaultSettings(), skill: { name: "find", values: {} } }]);
  const filled = newConversation("c", 0, [
    { ...defaultSettings(), skill: { name: "find", values: { objects: "dog" } } },
  ]);
  assert.equal(checkQuestion(one, [skill], "", []), "Find: attach one image.");
  assert.equal(checkQuestion(one, [skill], "", [PICTURE]), 'Fill in the skill\'s field "objects".');
  assert.equal(checkQuestion(filled, [skill], "", [PICTURE]), null);
  assert.equal(checkQuestion(filled, [skill], "", [PICTURE, PICTURE, PICTURE]), "Find takes at most 2 images.");
});

test("reads the fields of skills by their schemas", () => {
  const count = { type: "integer", minimum: 1, maximum: 9 } as const;
  assert.deepEqual(readField(count, "3"), { value: 3 });
  assert.deepEqual(readField(count, ""), { value: undefined });
  assert.deepEqual(readField(count, "0"), { problem: "At least 1." });
  assert.deepEqual(readField(count, "2.5"), { problem: "This is a whole number." });
  assert.deepEqual(readField({ type: "object" }, '{"a": ""}'), { value: { a: "" } });
  assert.ok("problem" in readField({ type: "object" }, "[1]"));
});
