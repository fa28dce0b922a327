/** Copies a text and says so. */

import { toast } from "./toast";

export async function copyText(text: string, what = "Copied"): Promise<void> {
  if (await copied(text)) toast({ text: what });
  else toast({ kind: "error", text: "The browser did not allow copying." });
}

/** `navigator.clipboard` is missing on pages that are served without TLS, so an old command takes its place there. */
async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** Lets the browser save a file. */
export function saveFile(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
