/** Files that are attached to questions: kept in the database, shown by object URLs, uploaded when a task needs them. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { storeBlob } from "../../api/catalogue";
import { keys } from "../../state/keys";
import type { Attachment } from "../model/types";
import * as database from "./database";

/** Files of this session, also of those that the database refused. */
const contents = new Map<string, Blob>();
const urls = signal<ReadonlyMap<string, string>>(new Map());

export async function keepFile(id: string, content: Blob): Promise<void> {
  contents.set(id, content);
  await database.putFile(id, content).catch(() => undefined);
}

export async function readFile(id: string): Promise<Blob | null> {
  const content = contents.get(id) ?? (await database.getFile(id).catch(() => undefined));
  if (content) contents.set(id, content);
  return content ?? null;
}

/** Returns an object URL of an attached file, once it is read; `null` before. */
export function useFileUrl(id: string): string | null {
  const known = urls.value.get(id) ?? null;
  useEffect(() => {
    if (known !== null) return;
    void readFile(id).then((content) => {
      if (content && !urls.peek().has(id)) urls.value = new Map(urls.peek()).set(id, URL.createObjectURL(content));
    });
  }, [id, known]);
  return known;
}

interface Uploaded {
  blob: string;
  key: string | null;
  until: number;
}

const KEPT_SECONDS = 24 * 3600;
/** An upload is repeated an hour before the server deletes it. */
const MARGIN_MS = 3600 * 1000;
const uploads = new Map<string, Promise<Uploaded>>();

/** Uploads files that the server does not have, and returns their ids. */
export async function upload(attachments: Attachment[], signal: AbortSignal): Promise<Map<string, string>> {
  const all = attachments.map(async ({ id, name }) => [id, await uploadOne(id, name, signal)] as const);
  return new Map(await Promise.all(all));
}

async function uploadOne(id: string, name: string, signal: AbortSignal): Promise<string> {
  const known = await uploads.get(id)?.catch(() => null);
  if (known && known.key === keys.client.peek() && known.until > Date.now()) return known.blob;
  const key = keys.client.peek();
  const upload = (async () => {
    const content = await readFile(id);
    if (!content) throw new Error(`${name} is no longer stored in this browser. Attach it again.`);
    const stored = await storeBlob(content, KEPT_SECONDS, signal);
    return { blob: stored.id, key, until: Date.parse(stored.expires_at) - MARGIN_MS };
  })();
  uploads.set(id, upload);
  return (await upload).blob;
}
