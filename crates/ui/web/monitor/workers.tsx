/** The workers: what they run on, what they do, and when they last reported. */

import type { JSX } from "preact";
import { Button } from "../ui/button";
import { drainWorker } from "./api";
import { type Column, DataTable } from "./data-table";
import { age, bytes, count, dateTime, duration, plural } from "./format";
import { now, overview } from "./live";
import { act, ask, Id, Loading, Meter, StateBadge } from "./parts";
import { modelState, workerState } from "./queue-state";
import type { Gpu, ServedModel, Worker } from "./replies";

/** A worker reports every 2 s and is listed for 10 s after its last report. */
const STALE = 6000;

const COLUMNS: Column<Worker>[] = [
  {
    id: "worker",
    label: "Worker",
    value: (of) => `${of.host} ${of.pid} ${of.id}`,
    cell: (of) => (
      <div class="m-stack">
        <span>
          <strong>{of.host}</strong> <span class="m-dim">pid {of.pid}</span>
        </span>
        <Id id={of.id} />
      </div>
    ),
    isTitle: true,
  },
  {
    id: "state",
    label: "State",
    value: (of) => of.status,
    cell: (of) => <StateBadge state={workerState(of.status)} />,
  },
  {
    id: "models",
    label: "Models",
    value: (of) =>
      served(of)
        .map(({ model }) => model)
        .join(" "),
    cell: (of) => (
      <ul class="m-models">
        {served(of).map((model) => (
          <Model key={model.model} model={model} isOnly={served(of).length === 1} />
        ))}
      </ul>
    ),
  },
  {
    id: "device",
    label: "Device",
    value: (of) => of.device,
    cell: (of) => <Device worker={of} />,
  },
  {
    id: "running",
    label: "Running",
    value: (of) => of.running,
    cell: (of) => <Meter value={of.running} most={of.capacity} text={`${count(of.running)} / ${count(of.capacity)}`} />,
    isNumber: true,
  },
  { id: "finished", label: "Finished", value: (of) => of.finished, cell: (of) => count(of.finished), isNumber: true },
  {
    id: "uptime",
    label: "Uptime",
    value: (of) => now.value - of.started_at,
    cell: (of) => (
      <time title={`started ${dateTime(of.started_at)}`}>{duration((now.value - of.started_at) / 1000)}</time>
    ),
    isNumber: true,
  },
  {
    id: "seen",
    label: "Last seen",
    value: (of) => of.last_seen,
    cell: (of) => <Seen worker={of} />,
    isNumber: true,
  },
  {
    id: "lost",
    label: "Lost log lines",
    value: (of) => of.log_lines_lost,
    cell: (of) => <span class={of.log_lines_lost > 0 ? "m-bad" : "m-zero"}>{count(of.log_lines_lost)}</span>,
    isNumber: true,
  },
  {
    id: "actions",
    label: "Actions",
    value: () => null,
    cell: (of) => (
      <Button size="small" disabled={of.status === "draining"} onClick={() => void drain(of)}>
        {of.status === "draining" ? "Draining" : "Drain"}
        <span class="visually-hidden">
          {" "}
          {of.host} pid {of.pid}
        </span>
      </Button>
    ),
    isAction: true,
  },
];

export function WorkersPage(): JSX.Element | null {
  const answer = overview.data.value;
  if (!answer) return <Loading what="the workers" error={overview.error.value} />;
  return (
    <section class="m-section" aria-label="Workers">
      <div class="m-section-head">
        <h2>{plural(answer.workers.length, "worker")}</h2>
        <span class="m-dim">a worker that stops reporting leaves this list after 10 s</span>
      </div>
      <DataTable
        label="Workers"
        columns={COLUMNS}
        rows={answer.workers}
        id={(worker) => worker.id}
        filter={answer.workers.length > 8 ? "Filter by host, model or device" : undefined}
        empty={
          <>
            <strong>No worker reports.</strong> Tasks stay queued until one starts: run <code>qwen-queue worker</code>{" "}
            with the gateway’s <code>REDIS_URL</code>, or <code>qwen-queue up</code>.
          </>
        }
      />
    </section>
  );
}

async function drain(worker: Worker): Promise<void> {
  const name = `${worker.host} (pid ${worker.pid})`;
  const others = (overview.data.peek()?.workers ?? []).filter((of) => of.id !== worker.id && of.status === "ready");
  const isSure = await ask({
    title: `Drain ${name}?`,
    text:
      `It takes no more tasks, ends the ${count(worker.running)} that it runs, and exits. ` +
      (others.length === 0 ? "It is the only ready worker: tasks stay queued until another starts." : ""),
    action: "Drain",
    isDanger: true,
  });
  if (!isSure) return;
  await act(() => drainWorker(worker.id), `${name} drains.`);
  await overview.refresh();
}

/** Returns the models of a worker. One of an older version names only its own. */
function served(worker: Worker): ServedModel[] {
  if (worker.models.length > 0) return worker.models;
  const { model, quantization, running, capacity } = worker;
  const state = worker.status === "loading" ? "loading" : "loaded";
  return [{ model, quantization, state, running, capacity, memory_bytes: 0, load_seconds: null }];
}

function Model(props: { model: ServedModel; isOnly: boolean }): JSX.Element {
  const { model, isOnly } = props;
  const notes = [
    model.quantization,
    model.parent && `on ${model.parent}`,
    model.memory_bytes > 0 && bytes(model.memory_bytes),
    model.load_seconds !== null && `loaded in ${duration(model.load_seconds)}`,
    !isOnly && `${count(model.running)} / ${count(model.capacity)}`,
  ].filter(Boolean);
  return (
    <li>
      <span class="m-model-name">{model.model}</span> <StateBadge state={modelState(model.state)} />
      <span class="m-dim m-note">{notes.join(" · ")}</span>
      {model.problem && <span class="m-bad m-note">{model.problem}</span>}
    </li>
  );
}

function Device(props: { worker: Worker }): JSX.Element {
  const gpus = props.worker.gpus ?? [];
  return (
    <div class="m-stack">
      <span>{props.worker.device}</span>
      {gpus.map((gpu) => (
        <GpuBars key={gpu.id} gpu={gpu} />
      ))}
    </div>
  );
}

function GpuBars(props: { gpu: Gpu }): JSX.Element {
  const { id, memory_used_bytes: used, memory_total_bytes: total, utilization_percent: use } = props.gpu;
  return (
    <div class="m-gpu">
      <span class="m-dim">GPU {id}</span>
      <Meter value={used} most={total} text={`${bytes(used)} / ${bytes(total)}`} label={`Memory of GPU ${id}`} />
      <Meter value={use} most={100} text={`${use} % busy`} label={`Use of GPU ${id}`} />
    </div>
  );
}

function Seen(props: { worker: Worker }): JSX.Element {
  const { last_seen } = props.worker;
  if (last_seen === null) return <span class="m-dim">unknown</span>;
  const at = overview.data.value?.at ?? last_seen;
  const isStale = at - last_seen > STALE;
  return (
    <time class={isStale ? "m-bad" : undefined} title={dateTime(last_seen)}>
      {age(at - last_seen)} ago{isStale ? " (stale)" : ""}
    </time>
  );
}
