/** All conversations: in memory, one signal each, and in the database. */

import { computed, type Signal, signal } from "@preact/signals";
import { toast } from "../../ui/toast";
import { answersOf, attachmentsOf, isRunning } from "../model/tree";
import type { Conversation } from "../model/types";
import * as database from "./database";

const entries = signal<ReadonlyMap<string, Signal<Conversation>>>(new Map());

/** Whether the stored conversations were read. */
export const isLoaded = signal(false);

/** All conversations, the one that changed last first. */
export const conversations = computed<Conversation[]>(() => {
  const all = Array.from(entries.value.values(), (entry) => entry.value);
  return all.sort((a, b) => b.updatedAt - a.updatedAt);
});

export function conversation(id: string): Conversation | null {
  return entries.value.get(id)?.value ?? null;
}

/** Reads the database, and deletes files that no conversation has. */
export async function load(): Promise<Conversation[]> {
  try {
    const stored = await database.allConversations();
    entries.value = new Map(stored.map((one) => [one.id, signal(one)]));
    const used = new Set(stored.flatMap(attachmentsOf).map(({ id }) => id));
    void database.keepFiles(used).catch(() => undefined);
    return stored;
  } catch {
    toast({ kind: "error", text: "This browser does not store conversations: they are lost when the page is closed." });
    return [];
  } finally {
    isLoaded.value = true;
  }
}

/** Adds a conversation, or replaces the one with its id. */
export function put(one: Conversation): void {
  const entry = entries.value.get(one.id);
  if (entry) entry.value = one;
  else entries.value = new Map(entries.value).set(one.id, signal(one));
  void save(one.id);
}

/** Changes a conversation; one that was deleted meanwhile stays deleted. */
export function update(id: string, change: (before: Conversation) => Conversation): void {
  if (applied(id, change)) void save(id);
}

/** The same for streamed text, which is stored now and then. */
export function updateOften(id: string, change: (before: Conversation) => Conversation): void {
  if (!applied(id, change)) return;
  unsaved.add(id);
  timer ??= setTimeout(saveNow, SAVE_MS);
}

function applied(id: string, change: (before: Conversation) => Conversation): boolean {
  const entry = entries.peek().get(id);
  const changed = entry && change(entry.peek());
  if (!entry || !changed || changed === entry.peek()) return false;
  entry.value = changed;
  return true;
}

/** Deletes a conversation and returns what brings it back. Its files stay until the page is loaded again. */
export function remove(id: string): () => void {
  const removed = entries.peek().get(id)?.peek();
  entries.value = new Map(Array.from(entries.peek()).filter(([other]) => other !== id));
  unsaved.delete(id);
  void database.deleteConversation(id).then(() => announce(id), reportUnsaved);
  return () => removed && put(removed);
}

const SAVE_MS = 300;
const unsaved = new Set<string>();
let timer: ReturnType<typeof setTimeout> | null = null;

/** Stores a conversation. Resolves when it is stored, or could not be. */
export async function save(id: string): Promise<void> {
  unsaved.delete(id);
  const one = entries.peek().get(id)?.peek();
  if (one) await database.putConversation(one).then(() => announce(id), reportUnsaved);
}

/** Writes what has changed. Called when the page is hidden too, because it may not come back. */
function saveNow(): void {
  if (timer !== null) clearTimeout(timer);
  timer = null;
  for (const id of unsaved) void save(id);
}

let isReported = false;

function reportUnsaved(): void {
  if (!isReported) toast({ kind: "error", text: "The browser could not store the conversation." });
  isReported = true;
}

addEventListener("pagehide", saveNow);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") saveNow();
});

/** Other tabs read a conversation again when this one has stored it, unless they follow its answers themselves. */
const channel = new BroadcastChannel("qwen-queue.conversations");

function announce(id: string): void {
  channel.postMessage(id);
}

channel.onmessage = async ({ data }: MessageEvent<string>) => {
  const mine = entries.peek().get(data)?.peek();
  if (unsaved.has(data) || (mine && answersOf(mine).some(isRunning))) return;
  const stored = await database.getConversation(data).catch(() => undefined);
  const entry = entries.peek().get(data);
  if (stored && entry) entry.value = stored;
  else if (stored) entries.value = new Map(entries.peek()).set(data, signal(stored));
  else entries.value = new Map(Array.from(entries.peek()).filter(([id]) => id !== data));
};
