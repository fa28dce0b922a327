/** The list of tasks, with a search by state, model, owner and age. */

import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { goTo } from "../state/route";
import { Button } from "../ui/button";
import { Select, TextField } from "../ui/field";
import { Empty, Notice } from "../ui/notice";
import { getTasks, type TaskQuery } from "./api";
import { CancelQueued, mayCancel } from "./cancel-queued";
import { type Column, DataTable } from "./data-table";
import { age, dateTime, duration } from "./format";
import { now, overview } from "./live";
import { Id, Loading, messageOf, StateBadge } from "./parts";
import { Poll } from "./poll";
import { taskState } from "./queue-state";
import { LANES, type ListedTask, TASK_STATES } from "./replies";

const EVERY = 5000;
/** How many tasks are shown at first, and how many more each time. */
const STEP = 100;
/** The time that somebody types until the list is read, in milliseconds. */
const TYPING = 300;

/** The tasks of the latest listing: what is known of those that no key of this page opens. */
export const listed = signal<ReadonlyMap<string, ListedTask>>(new Map());

const EVERYTHING: TaskQuery = { state: "", model: "", lane: "", tenant: "", newer_than: "" };
/** The search, kept while another page of the monitor is open. */
const query = signal(EVERYTHING);
/** Whether the gateway said that it does not list tasks: then it is not asked again. */
const hasNoList = signal(false);

const AGES = [
  { value: "", label: "at any time" },
  { value: "900", label: "in the last 15 min" },
  { value: "3600", label: "in the last hour" },
  { value: "21600", label: "in the last 6 h" },
  { value: "86400", label: "in the last day" },
];

export function TaskList(): JSX.Element {
  const [wanted, setWanted] = useState(STEP);
  const asked = query.value;
  const poll = useMemo(() => listing(asked, wanted), [asked, wanted]);
  useEffect(() => (hasNoList.value ? undefined : poll.start()), [poll, hasNoList.value]);
  const found = poll.data.value;
  const error = poll.error.value;
  if (hasNoList.value) {
    return (
      <Empty title="This gateway does not list tasks">
        Enter the id of a task to see its life: how long it waited, its attempts with their workers and errors, its
        first token and its end.
      </Empty>
    );
  }
  return (
    <section class="m-section" aria-label="Tasks">
      <Search onCancelled={() => void poll.refresh()} />
      {error !== null && (
        <Notice kind="error" title="The tasks can’t be listed">
          {messageOf(error)}
        </Notice>
      )}
      {found === null && <Loading what="the tasks" error={error} />}
      {found !== null && (
        <DataTable
          label="Tasks"
          columns={COLUMNS}
          rows={found.tasks}
          id={(task) => task.task_id}
          onOpen={(task) => goTo(["monitor", "tasks", task.task_id])}
          empty={
            <Empty title={asked === EVERYTHING ? "No tasks" : "No task matches"}>
              Tasks are listed from their submit until their results expire, the newest first.
            </Empty>
          }
        />
      )}
      {found?.hasMore && (
        <div class="m-more">
          <Button size="small" onClick={() => setWanted(wanted + STEP)}>
            Show older tasks
          </Button>
        </div>
      )}
    </section>
  );
}

function listing(asked: TaskQuery, wanted: number) {
  return new Poll(async (abort) => {
    const found = await getTasks(asked, wanted, abort);
    if (found === null) hasNoList.value = true;
    else listed.value = new Map(found.tasks.map((task) => [task.task_id, task]));
    return found;
  }, EVERY);
}

function Search({ onCancelled }: { onCancelled: () => void }): JSX.Element {
  const [tenant, setTenant] = useState(query.value.tenant);
  const set = (change: Partial<TaskQuery>) => {
    query.value = { ...query.peek(), ...change };
  };
  useEffect(() => {
    if (tenant.trim() === query.peek().tenant) return;
    const timer = setTimeout(() => set({ tenant: tenant.trim() }), TYPING);
    return () => clearTimeout(timer);
  }, [tenant]);
  const { state, model, lane, newer_than } = query.value;
  const models = (overview.data.value?.queues ?? []).map((queue) => queue.model);
  return (
    <div class="m-filters m-search-tasks">
      <Select
        label="State"
        value={state}
        onInput={(value) => set({ state: value })}
        options={[{ value: "", label: "any" }, ...TASK_STATES.map((value) => ({ value, label: value }))]}
      />
      <Select
        label="Model"
        value={model}
        onInput={(value) => set({ model: value })}
        options={[{ value: "", label: "any" }, ...models.map((value) => ({ value, label: value }))]}
      />
      <Select
        label="Lane"
        value={lane}
        onInput={(value) => set({ lane: value })}
        options={[{ value: "", label: "any" }, ...LANES.map((value) => ({ value, label: value }))]}
      />
      <TextField label="Owner" value={tenant} onInput={setTenant} placeholder="any" />
      <Select label="Submitted" value={newer_than} onInput={(value) => set({ newer_than: value })} options={AGES} />
      <span class="m-spring" />
      {mayCancel(query.value) && <CancelQueued query={query.value} onDone={onCancelled} />}
    </div>
  );
}

const COLUMNS: Column<ListedTask>[] = [
  { id: "task", label: "Task", value: (of) => of.task_id, cell: (of) => <Id id={of.task_id} isWhole />, isTitle: true },
  {
    id: "state",
    label: "State",
    value: (of) => of.status,
    cell: (of) => (
      <div class="m-stack">
        <StateBadge state={taskState(of.status)} />
        {of.error_type && <span class="m-bad m-note">{of.error_type}</span>}
        {of.cancel_requested && <span class="m-dim m-note">is being cancelled</span>}
      </div>
    ),
  },
  { id: "model", label: "Model", value: (of) => of.model },
  { id: "lane", label: "Lane", value: (of) => of.lane },
  { id: "owner", label: "Owner", value: (of) => of.tenant },
  {
    id: "submitted",
    label: "Submitted",
    value: (of) => of.submitted_at,
    cell: (of) => <time title={dateTime(of.submitted_at)}>{age(now.value - of.submitted_at)} ago</time>,
    isNumber: true,
  },
  {
    id: "waited",
    label: "Waited",
    value: waited,
    cell: (of) => duration(waited(of)),
    isNumber: true,
  },
  {
    id: "processed",
    label: "Processed",
    value: processed,
    cell: (of) => duration(processed(of) ?? Number.NaN),
    isNumber: true,
  },
  { id: "attempts", label: "Attempts", value: (of) => of.attempt, isNumber: true },
  {
    id: "worker",
    label: "Worker",
    value: (of) => of.worker,
    cell: (of) => (of.worker ? <Id id={of.worker} /> : <span class="m-dim">none</span>),
  },
];

/** Returns the seconds until the latest attempt started, or that the task has waited so far. */
function waited(of: ListedTask): number {
  return of.queue_wait_time ?? ((of.started_at ?? now.value) - of.submitted_at) / 1000;
}

/** Returns the seconds that the latest attempt took, or has taken so far. */
function processed(of: ListedTask): number | null {
  if (of.processing_time !== undefined) return of.processing_time;
  return of.status === "processing" && of.started_at !== null ? (now.value - of.started_at) / 1000 : null;
}
