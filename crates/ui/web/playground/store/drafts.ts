/** What was written and not sent, by conversation. Texts outlive a reload of the tab. */

import type { Attachment } from "../model/types";

export interface Draft {
  text: string;
  attachments: Attachment[];
}

const PREFIX = "qwen-queue.draft.";
const attached = new Map<string, Attachment[]>();

export function draftOf(id: string): Draft {
  return { text: sessionStorage.getItem(PREFIX + id) ?? "", attachments: attached.get(id) ?? [] };
}

export function keepDraft(id: string, draft: Draft): void {
  if (draft.text) sessionStorage.setItem(PREFIX + id, draft.text);
  else sessionStorage.removeItem(PREFIX + id);
  attached.set(id, draft.attachments);
}
