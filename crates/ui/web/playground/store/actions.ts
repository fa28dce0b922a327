/** What the user does to conversations. */

import { signal } from "@preact/signals";
import { newId } from "../../state/ids";
import { goTo } from "../../state/route";
import { toast } from "../../ui/toast";
import { defaultSettings } from "../model/settings";
import { addNode, newAnswer, newConversation, newQuestion, path, titleOf } from "../model/tree";
import type { Answer, Attachment, Column, Conversation, Question, Settings } from "../model/types";
import { refreshSkill, skills } from "./catalogue";
import { conversation, put, remove, update } from "./conversations";
import { runAll, stopAll } from "./runs";

const LAST_MODEL = "qwen-queue.model";

/** The new conversation, which is stored with its first question. Has the model of the last one. */
export const draft = signal(newDraft());

function newDraft(): Conversation {
  const model = localStorage.getItem(LAST_MODEL);
  return newConversation(newId(), Date.now(), [{ ...defaultSettings(), model }]);
}

/** Opens a new conversation. */
export function openNew(): void {
  draft.value = newDraft();
  goTo(["chat"]);
}

/** Asks a question after the last answer of the shown path. Stores the conversation if it is new. */
export function askQuestion(one: Conversation, text: string, attachments: Attachment[]): void {
  const parent = path(one).at(-1)?.answers[0]?.id ?? null;
  addQuestion(one, { parent, text, attachments });
}

/** Asks an edited question beside the old one, as a branch. */
export function askEdited(one: Conversation, question: Question, text: string, attachments: Attachment[]): void {
  addQuestion(one, { parent: question.parent, text, attachments });
}

function addQuestion(
  one: Conversation,
  asked: { parent: string | null; text: string; attachments: Attachment[] },
): void {
  const at = Date.now();
  const question = newQuestion({ id: newId(), at, ...asked });
  const withAnswers = one.columns.reduce(
    (before, settings, column) => addAnswer(before, question, column as Column, settings, at),
    addNode(one, question),
  );
  const isNew = conversation(one.id) === null;
  put(withAnswers);
  rememberModel(withAnswers);
  if (isNew) {
    draft.value = newDraft();
    goTo(["chat", one.id], { replace: true });
  }
  runAll(withAnswers);
}

function addAnswer(
  one: Conversation,
  question: Question,
  column: Column,
  settings: Settings,
  at: number,
): Conversation {
  return addNode(one, newAnswer({ id: newId(), parent: question.id, column, at, settings }));
}

/** Asks the same question again, with the settings as they are now, as a branch. */
export function retry(one: Conversation, answer: Answer): void {
  const question = one.nodes[answer.parent];
  const settings = one.columns[answer.column] ?? answer.settings;
  if (question?.kind !== "question") return;
  const retried = addAnswer(one, question, answer.column, settings, Date.now());
  put(retried);
  runAll(retried);
}

function rememberModel(one: Conversation): void {
  const model = one.columns[0]?.model;
  if (model) localStorage.setItem(LAST_MODEL, model);
  else localStorage.removeItem(LAST_MODEL);
}

/** Changes a conversation, stored or new. */
export function change(id: string, by: (before: Conversation) => Conversation): void {
  if (draft.peek().id === id) draft.value = by(draft.peek());
  else update(id, by);
}

/** Chooses a skill for all columns, or none. Returns whether it has fields to fill in. */
export function chooseSkill(id: string, name: string | null): boolean {
  change(id, (before) => ({
    ...before,
    columns: before.columns.map((settings) => ({ ...settings, skill: name === null ? null : { name, values: {} } })),
  }));
  if (name === null) return false;
  void refreshSkill(name);
  const fields = skills.peek().find((skill) => skill.name === name)?.schema.properties ?? {};
  return Object.keys(fields).some((field) => field !== "prompt");
}

export function rename(id: string, title: string): void {
  update(id, (before) => ({ ...before, title: title.trim().slice(0, 120) }));
}

/** Deletes a conversation; the message about it can bring it back. */
export function removeConversation(one: Conversation, isOpen: boolean): void {
  stopAll(one);
  const undo = remove(one.id);
  if (isOpen) goTo(["chat"]);
  toast({
    text: `"${titleOf(one).slice(0, 40)}" is deleted.`,
    action: {
      label: "Undo",
      run: () => {
        undo();
        runAll(one);
        if (isOpen) goTo(["chat", one.id]);
      },
    },
  });
}
