/** Cancels the queued tasks that match the search. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Button } from "../ui/button";
import { toast } from "../ui/toast";
import { cancelQueued, type TaskQuery } from "./api";
import { plural } from "./format";
import { act, ask } from "./parts";

interface Props {
  query: TaskQuery;
  /** Called after tasks were cancelled. */
  onDone: () => void;
}

/** Returns whether a search may match tasks that can be cancelled: running ones are cancelled one by one. */
export function mayCancel({ state }: TaskQuery): boolean {
  return ["", "queued", "delayed"].includes(state);
}

export function CancelQueued({ query, onDone }: Props): JSX.Element {
  const [isBusy, setBusy] = useState(false);
  const cancel = async () => {
    setBusy(true);
    await cancelAfterAsking(query);
    setBusy(false);
    onDone();
  };
  return (
    <Button size="small" icon="stop" disabled={isBusy} onClick={() => void cancel()}>
      Cancel those queued
    </Button>
  );
}

async function cancelAfterAsking(query: TaskQuery): Promise<void> {
  const counted = await act(() => cancelQueued(query, true), null);
  if (counted === null) return;
  if (counted.matched === 0) return toast({ text: "No queued task matches." });
  const tasks = plural(counted.matched, "queued task");
  const isSure = await ask({
    title: `Cancel ${tasks}?`,
    text: `${tasks}${described(query)}, and any that come meanwhile, are cancelled for good. Running tasks continue.`,
    action: `Cancel ${tasks}`,
    isDanger: true,
  });
  if (!isSure) return;
  await act(
    () => cancelQueued(query, false),
    ({ cancelled }) => `${plural(cancelled, "task is", "tasks are")} cancelled.`,
  );
}

/** Says which tasks match. */
function described({ model, lane, tenant, newer_than }: TaskQuery): string {
  const parts = [
    model && ` of ${model}`,
    lane && ` in the lane ${lane}`,
    tenant && ` of the owner ${tenant}`,
    newer_than && ` submitted in the last ${Number(newer_than) / 60} min`,
  ].filter(Boolean);
  return parts.length === 0 ? " of all models and owners" : parts.join("");
}
