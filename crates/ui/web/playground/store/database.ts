/** The browser's database of conversations and of the files attached to them. */

import type { Conversation } from "../model/types";

const NAME = "qwen-queue";
const VERSION = 1;

let opened: Promise<IDBDatabase> | null = null;

function open(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("conversations", { keyPath: "id" });
      request.result.createObjectStore("files");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

type StoreName = "conversations" | "files";

async function run<T>(
  store: StoreName,
  mode: IDBTransactionMode,
  act: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const transaction = (await open()).transaction(store, mode);
  const request = act(transaction.objectStore(store));
  // At once, because the page may be closed before the browser commits by itself.
  if (mode === "readwrite") transaction.commit();
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error);
  });
}

export function allConversations(): Promise<Conversation[]> {
  return run("conversations", "readonly", (store) => store.getAll());
}

export function getConversation(id: string): Promise<Conversation | undefined> {
  return run("conversations", "readonly", (store) => store.get(id));
}

export async function putConversation(conversation: Conversation): Promise<void> {
  await run("conversations", "readwrite", (store) => store.put(conversation));
}

export async function deleteConversation(id: string): Promise<void> {
  await run("conversations", "readwrite", (store) => store.delete(id));
}

export function getFile(id: string): Promise<Blob | undefined> {
  return run("files", "readonly", (store) => store.get(id));
}

export async function putFile(id: string, content: Blob): Promise<void> {
  await run("files", "readwrite", (store) => store.put(content, id));
}

/** Deletes all files but those with these ids. */
export async function keepFiles(ids: ReadonlySet<string>): Promise<void> {
  const all = await run("files", "readonly", (store) => store.getAllKeys());
  for (const id of all) {
    if (!ids.has(String(id))) await run("files", "readwrite", (store) => store.delete(id));
  }
}
