/** Models and skills of the server, read once a key is there and again when asked. */

import { effect, signal } from "@preact/signals";
import * as api from "../../api/catalogue";
import type { Model, Skill } from "../../api/types";
import { keys } from "../../state/keys";

export const models = signal<Model[]>([]);
export const skills = signal<Skill[]>([]);
/** Why the lists could not be read. */
export const catalogueProblem = signal<string | null>(null);

/** Reads both lists. */
export async function refreshCatalogue(): Promise<void> {
  try {
    [models.value, skills.value] = await Promise.all([api.listModels(), api.listSkills()]);
    catalogueProblem.value = null;
  } catch (error) {
    catalogueProblem.value = error instanceof Error ? error.message : String(error);
  }
}

/** Reads a skill again, because its file may have changed. */
export async function refreshSkill(name: string): Promise<void> {
  try {
    const read = await api.getSkill(name);
    skills.value = [...skills.peek().filter((skill) => skill.name !== name), read].sort((a, b) =>
      a.name.localeCompare(b.name),
    );
  } catch {
    // The list stays as it was; a request to a skill that is gone says so.
  }
}

/** Reads the lists for every new key. Returns what stops it. */
export function followKey(): () => void {
  return effect(() => {
    if (keys.client.value !== null) void refreshCatalogue();
  });
}
