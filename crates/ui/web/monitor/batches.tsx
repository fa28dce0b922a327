/** The batches that have not ended. */

import type { JSX } from "preact";
import { type Column, DataTable } from "./data-table";
import { age, count, dateTime, until } from "./format";
import { now } from "./live";
import { Id, Meter } from "./parts";
import type { Batch, Overview } from "./replies";

const COLUMNS: Column<Batch>[] = [
  { id: "batch", label: "Batch", value: (of) => of.batch_id, cell: (of) => <Id id={of.batch_id} />, isTitle: true },
  { id: "owner", label: "Owner", value: (of) => of.tenant, cell: (of) => <Id id={of.tenant} /> },
  { id: "endpoint", label: "Route", value: (of) => of.endpoint, cell: (of) => <code>{of.endpoint}</code> },
  { id: "status", label: "State", value: (of) => of.status.replaceAll("_", " ") },
  {
    id: "progress",
    label: "Ended",
    value: (of) => (of.total === 0 ? 0 : (of.completed + of.failed) / of.total),
    cell: (of) =>
      of.total === 0 ? (
        <span class="m-dim">lines are checked</span>
      ) : (
        <Meter
          value={of.completed + of.failed}
          most={of.total}
          text={`${count(of.completed + of.failed)} / ${count(of.total)}`}
        />
      ),
    isNumber: true,
  },
  {
    id: "failed",
    label: "Failed",
    value: (of) => of.failed,
    cell: (of) => <span class={of.failed > 0 ? "m-bad" : "m-zero"}>{count(of.failed)}</span>,
    isNumber: true,
  },
  {
    id: "created",
    label: "Created",
    value: (of) => of.created_at,
    cell: (of) => <time title={dateTime(of.created_at)}>{age(now.value - of.created_at)} ago</time>,
    isNumber: true,
  },
  {
    id: "expires",
    label: "Expires",
    value: (of) => of.expires_at,
    cell: (of) => <time title={dateTime(of.expires_at)}>{until(of.expires_at, now.value)}</time>,
    isNumber: true,
  },
];

export function Batches(props: { overview: Overview }): JSX.Element {
  const { batches, batches_running } = props.overview;
  const isPart = batches.length < batches_running;
  return (
    <section class="m-section" aria-label="Batches in progress">
      <div class="m-section-head">
        <h2>Batches in progress</h2>
        {isPart && <span class="m-dim">{`${batches.length} of ${count(batches_running)}`}</span>}
      </div>
      <DataTable
        label="Batches in progress"
        columns={COLUMNS}
        rows={batches}
        id={(batch) => batch.batch_id}
        empty="Batches that have not ended would be here."
      />
    </section>
  );
}
