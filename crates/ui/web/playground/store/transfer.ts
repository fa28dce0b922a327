/** Conversations as files: exports and imports them. */

import { newId } from "../../state/ids";
import { goTo } from "../../state/route";
import { saveFile } from "../../ui/copy";
import { fileName, fromJson, toJson, toMarkdown } from "../model/export";
import { answersOf, attachmentsOf, isRunning } from "../model/tree";
import type { Conversation } from "../model/types";
import { put } from "./conversations";
import { keepFile, readFile } from "./files";

export async function exportJson(one: Conversation): Promise<void> {
  const files: Record<string, string> = {};
  for (const { id } of attachmentsOf(one)) {
    const content = await readFile(id);
    if (content) files[id] = await toDataUrl(content);
  }
  saveFile(fileName(one, "json"), new Blob([toJson(one, files, new Date())], { type: "application/json" }));
}

export function exportMarkdown(one: Conversation): void {
  saveFile(fileName(one, "md"), new Blob([toMarkdown(one)], { type: "text/markdown" }));
}

/** Imports a conversation as a new one and opens it. Rejects with an error for people. */
export async function importFile(file: File): Promise<void> {
  const { conversation, files } = fromJson(await file.text());
  for (const [id, url] of Object.entries(files)) {
    const content = fromDataUrl(url);
    if (content) await keepFile(id, content);
  }
  const imported = { ...withoutRuns(conversation), id: newId(), updatedAt: Date.now() };
  put(imported);
  goTo(["chat", imported.id]);
}

/** Answers that had not ended belong to the page that exported them. */
function withoutRuns(one: Conversation): Conversation {
  const ended = answersOf(one)
    .filter(isRunning)
    .map((answer) => [answer.id, { ...answer, phase: "cancelled" as const }]);
  return { ...one, nodes: { ...one.nodes, ...Object.fromEntries(ended) } };
}

function toDataUrl(content: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(content);
  });
}

/** Decodes a data URL by hand, because the page's policy does not let it fetch one. */
function fromDataUrl(url: string): Blob | null {
  const match = /^data:((?:image|video)\/[\w.+-]+);base64,(.*)$/s.exec(url);
  if (!match) return null;
  const bytes = Uint8Array.from(atob(match[2] ?? ""), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: match[1] });
}
