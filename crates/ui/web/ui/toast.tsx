/** Short messages at the edge of the page, with at most one action, such as undo. */

import { signal } from "@preact/signals";
import { IconButton } from "./button";

export interface Toast {
  text: string;
  kind?: "info" | "error";
  action?: { label: string; run: () => void };
}

interface Shown extends Toast {
  id: number;
}

const shown = signal<Shown[]>([]);
let lastId = 0;

const SHOWN_MS = 6000;

/** Shows a message for some seconds. */
export function toast(message: Toast): void {
  const id = ++lastId;
  shown.value = [...shown.value.slice(-2), { ...message, id }];
  setTimeout(() => dismiss(id), message.action || message.kind === "error" ? SHOWN_MS * 1.5 : SHOWN_MS);
}

function dismiss(id: number): void {
  shown.value = shown.value.filter((one) => one.id !== id);
}

/** The place where messages appear; rendered once, by the shell. */
export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.value.map(({ id, text, kind = "info", action }) => (
        <div key={id} class={`toast toast-${kind}`}>
          <span>{text}</span>
          {action && (
            <button
              type="button"
              class="toast-action"
              onClick={() => {
                dismiss(id);
                action.run();
              }}
            >
              {action.label}
            </button>
          )}
          <IconButton icon="close" size="small" label="Dismiss" onClick={() => dismiss(id)} />
        </div>
      ))}
    </div>
  );
}
