/** The queues of all models, with the buttons that pause and resume them. */

import type { JSX } from "preact";
import { Button } from "../ui/button";
import { setPaused } from "./api";
import { type Column, DataTable } from "./data-table";
import { count, duration, plural } from "./format";
import { overview } from "./live";
import { act, ask, Meter, StateBadge } from "./parts";
import { queueState, waiting } from "./queue-state";
import { LANES, type Overview, type Queue } from "./replies";

const COLUMNS: Column<Queue>[] = [
  { id: "model", label: "Model", value: (of) => of.model, isTitle: true },
  {
    id: "state",
    label: "State",
    value: (of) => queueState(of).word,
    cell: (of) => <StateBadge state={queueState(of)} />,
  },
  ...LANES.map(
    (lane): Column<Queue> => ({
      id: lane,
      label: lane === "batch" ? "Batch" : `${lane[0]?.toUpperCase()}${lane.slice(1)}`,
      value: (of) => of.queued[lane],
      cell: (of) => <Count value={of.queued[lane]} />,
      isNumber: true,
    }),
  ),
  {
    id: "delayed",
    label: "Delayed",
    value: (of) => of.delayed,
    cell: (of) => <Count value={of.delayed} />,
    isNumber: true,
  },
  {
    id: "processing",
    label: "Processing",
    value: (of) => of.processing,
    cell: (of) => (
      <Meter value={of.processing} most={of.capacity} text={`${count(of.processing)} / ${count(of.capacity)}`} />
    ),
    isNumber: true,
  },
  {
    id: "average",
    label: "Average",
    value: (of) => of.service_seconds,
    cell: (of) => (of.service_seconds === null ? "–" : duration(of.service_seconds)),
    isNumber: true,
  },
  ...(["completed", "failed", "cancelled"] as const).map(
    (outcome): Column<Queue> => ({
      id: outcome,
      label: `${outcome[0]?.toUpperCase()}${outcome.slice(1)}`,
      value: (of) => of[outcome],
      cell: (of) => <Count value={of[outcome]} isBad={outcome === "failed"} />,
      isNumber: true,
    }),
  ),
  {
    id: "actions",
    label: "Actions",
    value: () => null,
    cell: (of) => (
      <Button size="small" onClick={() => void change(of)}>
        {of.paused ? "Resume" : "Pause"}
        <span class="visually-hidden"> {of.model}</span>
      </Button>
    ),
    isAction: true,
  },
];

export function Queues(props: { overview: Overview }): JSX.Element {
  return (
    <section class="m-section" aria-label="Queues">
      <div class="m-section-head">
        <h2>Queues</h2>
        <span class="m-dim">tasks that wait in each lane, and that ended so far</span>
      </div>
      <DataTable
        label="Queues"
        columns={COLUMNS}
        rows={props.overview.queues}
        id={(queue) => queue.model}
        filter={props.overview.queues.length > 8 ? "Filter models" : undefined}
        empty={
          <>
            <strong>No queue yet.</strong> Each model has a row here from its first task on.
          </>
        }
      />
    </section>
  );
}

async function change(queue: Queue): Promise<void> {
  const { model, paused } = queue;
  const waits = plural(waiting(queue), "queued task", "queued tasks");
  const isSure = await ask(
    paused
      ? { title: `Resume ${model}?`, text: `Workers take its ${waits} again.`, action: "Resume" }
      : {
          title: `Pause ${model}?`,
          text:
            `New tasks are accepted and stay queued, and the ${count(queue.processing)} that run continue. ` +
            "No task is started until you resume the model, even after restarts.",
          action: "Pause",
          isDanger: true,
        },
  );
  if (!isSure) return;
  await act(() => setPaused(model, !paused), `${model} is ${paused ? "resumed" : "paused"}.`);
  await overview.refresh();
}

/** A number that is dim if it is 0, so that the others stand out. */
function Count(props: { value: number; isBad?: boolean }): JSX.Element {
  const tone = props.value === 0 ? "m-zero" : props.isBad ? "m-bad" : undefined;
  return <span class={tone}>{count(props.value)}</span>;
}
