import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultSettings } from "./settings";
import * as tree from "./tree";
import type { Column, Conversation } from "./types";

function asked(one: Conversation, id: string, parent: string | null, columns = 1): Conversation {
  const question = tree.newQuestion({ id, parent, at: 1, text: `question ${id}`, attachments: [] });
  let grown = tree.addNode(one, question);
  for (let column = 0; column < columns; column++) {
    const settings = one.columns[column] ?? defaultSettings();
    const answer = tree.newAnswer({
      id: `${id}${"ab"[column]}`,
      parent: id,
      column: column as Column,
      at: 1,
      settings,
    });
    grown = tree.addNode(grown, { ...answer, text: `answer ${answer.id}` });
  }
  return grown;
}

function empty(columns = 1): Conversation {
  return tree.newConversation("c", 0, Array.from({ length: columns }, defaultSettings));
}

function shown(one: Conversation): string[] {
  return tree
    .path(one)
    .flatMap(({ question, answers }) => [question.id, ...answers.map((answer) => answer?.id ?? "-")]);
}

test("shows the path of the last branches, and those that are picked", () => {
  let one = asked(asked(empty(), "1", null), "2", "1a");
  assert.deepEqual(shown(one), ["1", "1a", "2", "2a"]);
  one = asked(one, "1'", null);
  assert.deepEqual(shown(one), ["1'", "1'a"]);
  one = tree.pick(one, "1");
  assert.deepEqual(shown(one), ["1", "1a", "2", "2a"]);
  const first = one.nodes["1"];
  assert.ok(first);
  assert.deepEqual(tree.alternatives(one, first), ["1", "1'"]);
});

test("a retried answer begins a branch without what followed the old one", () => {
  let one = asked(asked(empty(), "1", null), "2", "1a");
  one = tree.addNode(one, tree.newAnswer({ id: "1a'", parent: "1", column: 0, at: 2, settings: defaultSettings() }));
  assert.deepEqual(shown(one), ["1", "1a'"]);
  assert.deepEqual(shown(tree.pick(one, "1a")), ["1", "1a", "2", "2a"]);
});

test("each column has its own history, or that of the first where it was not asked", () => {
  let one = asked(empty(2), "1", null, 1);
  one = asked(asked(one, "2", "1a", 2), "3", "2a", 2);
  const question = one.nodes["3"];
  assert.ok(question?.kind === "question");
  const ids = (column: Column) => tree.history(one, question, column).map((turn) => turn.answer.id);
  assert.deepEqual(ids(0), ["1a", "2a"]);
  assert.deepEqual(ids(1), ["1a", "2b"]);
  assert.deepEqual(shown(one), ["1", "1a", "-", "2", "2a", "2b", "3", "3a", "3b"]);
});

test("changes nothing for answers that are gone", () => {
  const one = asked(empty(), "1", null);
  assert.equal(
    tree.changeAnswer(one, "9", (answer) => ({ ...answer, text: "x" })),
    one,
  );
  assert.equal(
    tree.changeAnswer(one, "1", (answer) => ({ ...answer, text: "x" })),
    one,
  );
  assert.equal(
    tree.changeAnswer(one, "1a", (answer) => answer),
    one,
  );
});

test("takes the title from the first question", () => {
  assert.equal(tree.titleOf(empty()), "New conversation");
  assert.equal(tree.titleOf(asked(empty(), "1", null)), "question 1");
  assert.equal(tree.titleOf({ ...asked(empty(), "1", null), title: "Mine" }), "Mine");
});
