/** Asks for a key before it shows what needs one, and again when the server refuses it. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { accepts } from "../api/client";
import { isRemembered, keys, type Role, refused, setKey } from "../state/keys";
import { Button } from "./button";
import { Dialog } from "./dialog";
import { Checkbox, TextField } from "./field";
import { Icon } from "./icons";

const TEXTS: Record<Role, { title: string; label: string; text: string; hint: string; wrong: string }> = {
  client: {
    title: "Enter your API key",
    label: "API key",
    text: "Every request of the playground is sent with it.",
    hint: "One of the server's API_KEYS, or a managed key. qwen-queue up prints one at its start if none is set.",
    wrong: "The server does not accept this key. Check for missing characters, or ask its operator for another.",
  },
  admin: {
    title: "Enter the operators' key",
    label: "Operators' key",
    text: "The monitor reads queues and workers with it.",
    hint: "The server's ADMIN_API_KEY, or a managed key with the scope admin.",
    wrong: "The server does not accept this key for operators.",
  },
};

export function KeyGate({ role, children }: { role: Role; children: ComponentChildren }) {
  if (keys[role].value === null) {
    return (
      <main class="gate">
        <div class="gate-card">
          <span class="gate-icon">
            <Icon name="key" size={22} />
          </span>
          <h1>{TEXTS[role].title}</h1>
          <p class="gate-text">{TEXTS[role].text}</p>
          <KeyForm role={role} />
        </div>
      </main>
    );
  }
  return <>{children}</>;
}

/** Asks for another key when the server refuses the one in use. The shell renders it for both roles. */
export function RefusedKeyDialog({ role }: { role: Role }) {
  if (keys[role].value === null || !refused[role].value) return null;
  return <KeyDialog role={role} onClose={() => (refused[role].value = false)} isRefused />;
}

export function KeyDialog({ role, onClose, isRefused }: { role: Role; onClose: () => void; isRefused?: boolean }) {
  return (
    <Dialog title={TEXTS[role].title} size="small" onClose={onClose}>
      {isRefused && <p class="field-error">The server no longer accepts the key in use.</p>}
      <KeyForm role={role} onDone={onClose} />
    </Dialog>
  );
}

function KeyForm({ role, onDone }: { role: Role; onDone?: () => void }) {
  const [key, setText] = useState("");
  const [remember, setRemember] = useState(isRemembered(role));
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const texts = TEXTS[role];

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const typed = key.trim();
    if (!typed) return setProblem("Enter a key.");
    if (!/^[\x21-\x7e]+$/.test(typed)) return setProblem("A key has no spaces and no letters beyond ASCII.");
    setBusy(true);
    try {
      if (await accepts(role, typed)) {
        setKey(role, typed, remember);
        onDone?.();
      } else setProblem(texts.wrong);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form class="form" onSubmit={submit} noValidate>
      <TextField
        label={texts.label}
        type="password"
        value={key}
        onInput={setText}
        hint={texts.hint}
        error={problem}
        autocomplete="off"
        autofocus
      />
      <Checkbox
        label="Remember on this device"
        hint="Otherwise this tab forgets the key when it is closed."
        checked={remember}
        onInput={setRemember}
      />
      <Button type="submit" variant="primary" disabled={isBusy}>
        {isBusy ? "Checking…" : "Continue"}
      </Button>
    </form>
  );
}
