/**
 * A conversation's tree. Nodes stand in slots; the nodes of one slot are alternatives, of which one is shown:
 *
 * - `root`: first questions;
 * - the id of an answer (of column 0): questions that follow it;
 * - the id of a question and a column: answers to it.
 *
 * All functions return new values and change nothing.
 */

import type { Answer, Attachment, Column, Conversation, Node, Question, Settings } from "./types";

const ROOT = "root";

/** A question of the shown path with the shown answer of each column. */
export interface Turn {
  question: Question;
  answers: (Answer | null)[];
}

export function newConversation(id: string, at: number, columns: Settings[]): Conversation {
  return { id, title: "", createdAt: at, updatedAt: at, nodes: {}, children: {}, picks: {}, columns };
}

export function slotOf(node: Node): string {
  return node.kind === "question" ? (node.parent ?? ROOT) : answerSlot(node.parent, node.column);
}

function answerSlot(question: string, column: Column): string {
  return `${question}/${column}`;
}

/** Adds a node and shows it. */
export function addNode(conversation: Conversation, node: Node): Conversation {
  const slot = slotOf(node);
  return {
    ...conversation,
    updatedAt: node.at,
    nodes: { ...conversation.nodes, [node.id]: node },
    children: { ...conversation.children, [slot]: [...(conversation.children[slot] ?? []), node.id] },
    picks: { ...conversation.picks, [slot]: node.id },
  };
}

export function newQuestion(fields: {
  id: string;
  parent: string | null;
  at: number;
  text: string;
  attachments: Attachment[];
}): Question {
  return { kind: "question", ...fields };
}

export function newAnswer(fields: {
  id: string;
  parent: string;
  column: Column;
  at: number;
  settings: Settings;
}): Answer {
  return {
    kind: "answer",
    ...fields,
    phase: "sending",
    call: null,
    taskId: null,
    lastEvent: 0,
    attempt: 0,
    text: "",
    reasoning: "",
    toolCalls: [],
    warnings: [],
  };
}

/** Replaces an answer by what `change` makes of it; an answer that is gone stays gone. */
export function changeAnswer(conversation: Conversation, id: string, change: (answer: Answer) => Answer): Conversation {
  const node = conversation.nodes[id];
  if (node?.kind !== "answer") return conversation;
  const changed = change(node);
  return changed === node ? conversation : { ...conversation, nodes: { ...conversation.nodes, [id]: changed } };
}

/** Shows this node among the alternatives of its slot. */
export function pick(conversation: Conversation, id: string): Conversation {
  const node = conversation.nodes[id];
  return node ? { ...conversation, picks: { ...conversation.picks, [slotOf(node)]: id } } : conversation;
}

/** The alternatives of a node, itself included, in the order in which they came. */
export function alternatives(conversation: Conversation, node: Node): string[] {
  return conversation.children[slotOf(node)] ?? [];
}

function shown(conversation: Conversation, slot: string): Node | null {
  const id = conversation.picks[slot] ?? conversation.children[slot]?.at(-1);
  return (id !== undefined && conversation.nodes[id]) || null;
}

function shownAnswer(conversation: Conversation, question: string, column: Column): Answer | null {
  const node = shown(conversation, answerSlot(question, column));
  return node?.kind === "answer" ? node : null;
}

/** Returns the shown path from the first question on. */
export function path(conversation: Conversation): Turn[] {
  const turns: Turn[] = [];
  const columns = conversation.columns.map((_, column) => column as Column);
  let slot: string | null = ROOT;
  while (slot !== null) {
    const question = shown(conversation, slot);
    if (question?.kind !== "question") break;
    const answers = columns.map((column) => shownAnswer(conversation, question.id, column));
    turns.push({ question, answers });
    slot = answers[0]?.id ?? null;
  }
  return turns;
}

/** Returns the questions before this one, each with the answer that a column shows, the first one first. */
export function history(
  conversation: Conversation,
  question: Question,
  column: Column,
): { question: Question; answer: Answer }[] {
  const turns: { question: Question; answer: Answer }[] = [];
  let parent = question.parent;
  while (parent !== null) {
    const onPath = conversation.nodes[parent];
    const before = onPath?.kind === "answer" ? conversation.nodes[onPath.parent] : undefined;
    if (onPath?.kind !== "answer" || before?.kind !== "question") break;
    const ofColumn = column === 0 ? onPath : (shownAnswer(conversation, before.id, column) ?? onPath);
    turns.unshift({ question: before, answer: ofColumn });
    parent = before.parent;
  }
  return turns;
}

export function isRunning(answer: Answer): boolean {
  return answer.phase === "sending" || answer.phase === "queued" || answer.phase === "processing";
}

export function answersOf(conversation: Conversation): Answer[] {
  return Object.values(conversation.nodes).filter((node) => node.kind === "answer");
}

export function attachmentsOf(conversation: Conversation): Attachment[] {
  return Object.values(conversation.nodes).flatMap((node) => (node.kind === "question" ? node.attachments : []));
}

/** Returns the title, or what stands for it: the start of the first question. */
export function titleOf(conversation: Conversation): string {
  if (conversation.title) return conversation.title;
  const first = conversation.nodes[conversation.children[ROOT]?.[0] ?? ""];
  const text = first?.kind === "question" ? first.text.trim() : "";
  if (text) return text.split("\n")[0]?.slice(0, 80) ?? text;
  const attached = first?.kind === "question" ? first.attachments[0]?.name : undefined;
  return attached ?? "New conversation";
}
