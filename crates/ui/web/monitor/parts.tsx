/** Small parts that several pages of the monitor share. */

import { signal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Badge } from "../ui/badge";
import { IconButton } from "../ui/button";
import { copyText } from "../ui/copy";
import { ConfirmDialog } from "../ui/dialog";
import { toast } from "../ui/toast";
import { shortId } from "./format";
import type { State } from "./queue-state";

export function StateBadge({ state }: { state: State }): JSX.Element {
  return <Badge kind={state.kind}>{state.word}</Badge>;
}

interface MeterProps {
  value: number;
  most: number;
  /** The numbers, as people read them. */
  text: string;
  /** Names the bar where no head of a column does. */
  label?: string;
}

/** Numbers with a small bar below them. */
export function Meter({ value, most, text, label }: MeterProps): JSX.Element {
  const share = most > 0 ? Math.min(1, value / most) : 0;
  return (
    <span class="m-meter" title={label && `${label}: ${text}`}>
      <span>{text}</span>
      <span class="m-bar" aria-hidden="true">
        <span class={share >= 0.9 ? "m-bar-full" : undefined} style={{ width: `${share * 100}%` }} />
      </span>
    </span>
  );
}

/** The beginning of an id. A click copies all of it. */
export function Id({ id, isWhole }: { id: string; isWhole?: boolean }): JSX.Element {
  return (
    <button
      type="button"
      class="m-id"
      title={`${id} (click to copy)`}
      onClick={() => void copyText(id, "The id is copied.")}
    >
      <span aria-hidden="true">{isWhole ? id : shortId(id)}</span>
      <span class="visually-hidden">Copy {id}</span>
    </button>
  );
}

/** Stands where a page is not loaded yet. Not there if it can't be loaded, which the room says. */
export function Loading({ what, error = null }: { what: string; error?: unknown }): JSX.Element | null {
  if (error !== null) return null;
  return (
    <p class="m-loading" role="status">
      Loading {what} …
    </p>
  );
}

interface PanelProps {
  title: string;
  state?: ComponentChildren;
  actions: ComponentChildren;
  onClose: () => void;
  children: ComponentChildren;
}

/** The details of a row, above its table. Takes the focus when it opens; Escape closes it. */
export function Panel({ title, state, actions, onClose, children }: PanelProps): JSX.Element {
  const frame = useRef<HTMLElement>(null);
  useEffect(() => {
    frame.current?.scrollIntoView({ block: "nearest" });
    frame.current?.focus({ preventScroll: true });
  }, []);
  return (
    <section
      ref={frame}
      class="m-panel m-card"
      aria-label={title}
      tabIndex={-1}
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      <div class="m-section-head">
        <h2>{title}</h2>
        {state}
        <span class="m-spring" />
        {actions}
        <IconButton icon="close" label="Close" size="small" onClick={onClose} />
      </div>
      {children}
    </section>
  );
}

/** Names and values below each other. */
export function Facts({ children }: { children: ComponentChildren }): JSX.Element {
  return <dl class="m-facts">{children}</dl>;
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

interface Question {
  title: string;
  text: ComponentChildren;
  /** The verb on the button. */
  action: string;
  isDanger?: boolean;
}

const asked = signal<(Question & { answer: (isSure: boolean) => void }) | null>(null);

/** Asks before an action, and returns whether the operator is sure. */
export function ask(question: Question): Promise<boolean> {
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (isSure) => {
        asked.value = null;
        resolve(isSure);
      },
    };
  });
}

/** The place where questions appear; rendered once, by the room. */
export function Questions(): JSX.Element | null {
  const question = asked.value;
  if (!question) return null;
  return (
    <ConfirmDialog
      title={question.title}
      confirm={question.action}
      isDangerous={question.isDanger}
      onConfirm={() => question.answer(true)}
      onClose={() => question.answer(false)}
    >
      <p>{question.text}</p>
    </ConfirmDialog>
  );
}

type Done<T> = string | ((reply: T) => string) | null;

/** Does something, says that it is done (unless `done` is `null`) or why it failed, and returns the reply or `null`. */
export async function act<T>(action: () => Promise<T>, done: Done<T>): Promise<T | null> {
  try {
    const reply = await action();
    if (done !== null) toast({ text: typeof done === "string" ? done : done(reply) });
    return reply;
  } catch (error) {
    toast({ kind: "error", text: messageOf(error) });
    return null;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
