/** Searches conversations for words, in titles, questions and answers. */

import { titleOf } from "./tree";
import type { Conversation } from "./types";

/** Returns where a conversation has all of the words: a piece of text around the first, or `null` if one is missing. */
export function find(conversation: Conversation, query: string): string | null {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const title = titleOf(conversation);
  const texts = [title, ...Object.values(conversation.nodes).map((node) => node.text)];
  const lower = texts.map((text) => text.toLowerCase());
  if (!words.every((word) => lower.some((text) => text.includes(word)))) return null;
  const first = words[0] ?? "";
  if (lower[0]?.includes(first)) return "";
  const at = lower.findIndex((text) => text.includes(first));
  return excerpt(texts[at] ?? "", lower[at]?.indexOf(first) ?? 0);
}

const BEFORE = 24;
const AFTER = 72;

function excerpt(text: string, at: number): string {
  const from = Math.max(0, at - BEFORE);
  const piece = text
    .slice(from, at + AFTER)
    .replace(/\s+/g, " ")
    .trim();
  return `${from > 0 ? "…" : ""}${piece}${at + AFTER < text.length ? "…" : ""}`;
}
