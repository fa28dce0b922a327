/** The page that shows all queues at a glance. */

import type { JSX } from "preact";
import { Batches } from "./batches";
import { bytes, count, duration, plural, rate } from "./format";
import { overview } from "./live";
import { Loading } from "./parts";
import { Plots, shownHistory } from "./plots";
import { waiting } from "./queue-state";
import { Queues } from "./queues";
import type { Overview } from "./replies";
import { latestRate } from "./series";

export function OverviewPage(): JSX.Element | null {
  const answer = overview.data.value;
  if (!answer) return <Loading what="the overview" error={overview.error.value} />;
  return (
    <div class="m-page">
      <Figures overview={answer} />
      <Plots overview={answer} />
      <Queues overview={answer} />
      {answer.batches_running > 0 && <Batches overview={answer} />}
    </div>
  );
}

/** The totals in large type. */
function Figures(props: { overview: Overview }): JSX.Element {
  const { queues, workers, at, queued_bytes, dead_letters, webhooks_pending } = props.overview;
  const total = (amount: (queue: (typeof queues)[number]) => number) => queues.reduce((sum, of) => sum + amount(of), 0);
  const queued = total(waiting);
  const delayed = total((queue) => queue.delayed);
  const running = total((queue) => queue.processing);
  const capacity = workers.reduce((sum, worker) => sum + (worker.status === "ready" ? worker.capacity : 0), 0);
  const busy = queues.filter((queue) => queue.service_seconds !== null);
  const ended = busy.reduce((sum, queue) => sum + queue.completed + queue.failed, 0);
  const service = busy.reduce((sum, of) => sum + (of.service_seconds ?? 0) * (of.completed + of.failed), 0);
  const history = shownHistory.value;
  const minutes = history.interval_seconds > 10 ? 2 : 1;
  const perMinute = latestRate(history, at, minutes * 60);
  return (
    <dl class="m-figures">
      <Figure label="Queued" value={count(queued)} note={queued > 0 ? bytes(queued_bytes) : "nothing waits"} />
      <Figure label="Delayed" value={count(delayed)} note="until their time" />
      <Figure label="Processing" value={count(running)} note={`of ${count(capacity)} at once`} />
      <Figure
        label="Ended per minute"
        value={perMinute === null ? "–" : rate(perMinute)}
        note={perMinute === null ? "not yet measured" : minutes === 1 ? "over the last minute" : "over 2 minutes"}
      />
      <Figure
        label="Processing time"
        value={ended > 0 ? duration(service / ended) : "–"}
        note={ended > 0 ? "average" : "nothing ended yet"}
      />
      <Figure
        label="Workers"
        value={count(workers.length)}
        note={workersNote(props.overview)}
        href="#/monitor/workers"
        isBad={workers.length === 0}
      />
      <Figure
        label="Dead letters"
        value={count(dead_letters)}
        note={dead_letters > 0 ? "to handle" : "none"}
        href="#/monitor/dead-letters"
        isBad={dead_letters > 0}
      />
      <Figure label="Webhooks" value={count(webhooks_pending)} note="pending" />
    </dl>
  );
}

function workersNote({ workers }: Overview): string {
  if (workers.length === 0) return "tasks stay queued";
  const ready = workers.filter((worker) => worker.status === "ready").length;
  return ready === workers.length ? "all ready" : `${plural(ready, "is", "are")} ready`;
}

function Figure(props: { label: string; value: string; note: string; href?: string; isBad?: boolean }): JSX.Element {
  const { label, value, note, href, isBad } = props;
  return (
    <div class={isBad ? "m-figure m-figure-bad" : "m-figure"}>
      <dt>{href === undefined ? label : <a href={href}>{label}</a>}</dt>
      <dd>
        <span class="m-figure-value">{value}</span> <span class="m-figure-note">{note}</span>
      </dd>
    </div>
  );
}
