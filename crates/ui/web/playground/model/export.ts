/** Conversations as files: JSON with everything, to be imported again, and Markdown to read. */

import { path, type Turn, titleOf } from "./tree";
import type { Answer, Conversation } from "./types";

const FORMAT = "qwen-queue.conversation";
const VERSION = 1;

interface File {
  format: typeof FORMAT;
  version: number;
  exported_at: string;
  conversation: Conversation;
  /** Data URLs by the ids of attachments. */
  files: Record<string, string>;
}

export function toJson(conversation: Conversation, files: Record<string, string>, at: Date): string {
  const file: File = { format: FORMAT, version: VERSION, exported_at: at.toISOString(), conversation, files };
  return `${JSON.stringify(file, null, 2)}\n`;
}

/** Reads an exported conversation. Throws an error for people if it is none. */
export function fromJson(text: string): { conversation: Conversation; files: Record<string, string> } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("The file is not JSON. Import a conversation that was exported as JSON.");
  }
  if (!isObject(value) || value.format !== FORMAT || !isConversation(value.conversation)) {
    throw new Error("The file is no conversation of this playground.");
  }
  if (value.version !== VERSION)
    throw new Error(`The file has version ${String(value.version)}; this page reads ${VERSION}.`);
  const files = isObject(value.files) ? value.files : {};
  const read = Object.entries(files).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return { conversation: value.conversation, files: Object.fromEntries(read) };
}

function isConversation(value: unknown): value is Conversation {
  if (!isObject(value) || typeof value.id !== "string" || typeof value.title !== "string") return false;
  const { nodes, children, picks, columns, createdAt, updatedAt } = value;
  if (!isObject(nodes) || !isObject(children) || !isObject(picks) || !Array.isArray(columns)) return false;
  if (typeof createdAt !== "number" || typeof updatedAt !== "number" || columns.length < 1) return false;
  return Object.entries(nodes).every(([id, node]) => isNode(id, node)) && Object.values(children).every(Array.isArray);
}

function isNode(id: string, node: unknown): boolean {
  if (!isObject(node) || node.id !== id || typeof node.text !== "string") return false;
  if (node.kind === "question") return Array.isArray(node.attachments);
  const hasLists = Array.isArray(node.toolCalls) && Array.isArray(node.warnings);
  return node.kind === "answer" && isObject(node.settings) && typeof node.reasoning === "string" && hasLists;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Writes the shown path. Answers are Markdown already. */
export function toMarkdown(conversation: Conversation): string {
  const system = conversation.columns[0]?.system.trim();
  const head = [`# ${titleOf(conversation)}`, ...(system ? [`> ${system.replaceAll("\n", "\n> ")}`] : [])];
  return `${[...head, ...path(conversation).flatMap(turnToMarkdown)].join("\n\n")}\n`;
}

function turnToMarkdown({ question, answers }: Turn): string[] {
  const files = question.attachments.map((one) => `*Attached: ${one.name}*`);
  const shown = answers.filter((answer) => answer !== null);
  return [["## Question", ...files, question.text].filter(Boolean).join("\n\n"), ...shown.map(answerToMarkdown)];
}

function answerToMarkdown(answer: Answer): string {
  const parts = [`## Answer${answer.settings.model ? ` of ${answer.settings.model}` : ""}`];
  if (answer.reasoning) parts.push(`<details><summary>Reasoning</summary>\n\n${answer.reasoning}\n\n</details>`);
  if (answer.text) parts.push(answer.text);
  for (const one of answer.toolCalls) parts.push(`\`\`\`json\n${JSON.stringify(one, null, 2)}\n\`\`\``);
  if (answer.failure) parts.push(`*Failed: ${answer.failure.message}*`);
  if (answer.phase === "cancelled") parts.push("*Stopped.*");
  return parts.join("\n\n");
}

/** Returns a name for a file with the conversation's title: letters and digits of any script, and hyphens. */
export function fileName(conversation: Conversation, extension: string): string {
  const words =
    titleOf(conversation)
      .toLowerCase()
      .match(/[\p{Letter}\p{Number}]+/gu) ?? [];
  return `${words.join("-").slice(0, 60) || "conversation"}.${extension}`;
}
