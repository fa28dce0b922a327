/**
 * The keys that the user typed: the client's for the playground, the operators' for the monitor. Kept for the tab
 * (`sessionStorage`), or on the device (`localStorage`) if the user says so. Sent in headers only, never in URLs.
 */

import { type Signal, signal } from "@preact/signals";

export type Role = "client" | "admin";

const NAMES: Record<Role, string> = { client: "qwen-queue.key", admin: "qwen-queue.admin-key" };

function stored(role: Role): string | null {
  return sessionStorage.getItem(NAMES[role]) ?? localStorage.getItem(NAMES[role]);
}

export const keys: Record<Role, Signal<string | null>> = {
  client: signal(stored("client")),
  admin: signal(stored("admin")),
};

/** Whether the server refused the key that was typed last. */
export const refused: Record<Role, Signal<boolean>> = { client: signal(false), admin: signal(false) };

export function isRemembered(role: Role): boolean {
  return localStorage.getItem(NAMES[role]) !== null;
}

export function setKey(role: Role, key: string, remember: boolean): void {
  forget(role);
  (remember ? localStorage : sessionStorage).setItem(NAMES[role], key);
  refused[role].value = false;
  keys[role].value = key;
}

export function forgetKey(role: Role): void {
  forget(role);
  refused[role].value = false;
  keys[role].value = null;
}

/** Notes that the server refused this key, so that the page asks for another. */
export function noteRefusal(role: Role, key: string): void {
  if (keys[role].value === key) refused[role].value = true;
}

function forget(role: Role): void {
  sessionStorage.removeItem(NAMES[role]);
  localStorage.removeItem(NAMES[role]);
}
