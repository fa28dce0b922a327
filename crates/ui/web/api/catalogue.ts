/** What the server offers: models and skills; and files that tasks use. */

import { call, send } from "./client";
import type { Model, Skill, StoredBlob } from "./types";

export async function listModels(): Promise<Model[]> {
  return (await call<{ data: Model[] }>("/v1/models")).data;
}

export async function listSkills(): Promise<Skill[]> {
  return (await call<{ skills: Skill[] }>("/api/v1/skills")).skills;
}

/** Describes a skill, with the schema of its fields. */
export function getSkill(name: string): Promise<Skill> {
  return call(`/api/v1/skills/${encodeURIComponent(name)}`);
}

/** Stores a file for a time, for several requests. */
export function storeBlob(content: Blob, seconds: number, signal: AbortSignal): Promise<StoredBlob> {
  return call(`/blobs?expires_in_s=${seconds}`, {
    method: "POST",
    body: content,
    headers: { "Content-Type": content.type || "application/octet-stream" },
    signal,
  });
}

/** Fetches a file of the server, with the key; pictures are then shown by an object URL. */
export async function fetchFile(path: string): Promise<Blob> {
  return (await send(path)).blob();
}
