/** The place in the app, kept in the hash: `#/chat/ID` is `["chat", "ID"]`. */

import { signal } from "@preact/signals";

function read(): string[] {
  const parts = location.hash.replace(/^#\/?/, "").split("/");
  return parts.filter(Boolean).map(decoded);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = signal<string[]>(read());

addEventListener("hashchange", () => {
  route.value = read();
});

/** Returns the address of a place: `hrefOf("chat", id)`. */
export function hrefOf(...parts: string[]): string {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

/** Goes to a place. With `replace`, the place before is not kept in the history. */
export function goTo(parts: string[], { replace = false } = {}): void {
  const href = hrefOf(...parts);
  if (replace) history.replaceState(null, "", href);
  else if (location.hash !== href) history.pushState(null, "", href);
  route.value = read();
}
