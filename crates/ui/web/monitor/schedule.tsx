/** The periodic tasks: when each is due, what became of its latest task, and what prevents the next. */

import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { hrefOf } from "../state/route";
import { Button } from "../ui/button";
import { Empty, Notice } from "../ui/notice";
import { getSchedule, runPeriodic } from "./api";
import { type Column, DataTable } from "./data-table";
import { age, count, dateTime, plural, until } from "./format";
import { now } from "./live";
import { act, ask, Id, Loading, messageOf, StateBadge } from "./parts";
import { Poll } from "./poll";
import { periodicState, taskState } from "./queue-state";
import type { PeriodicTask } from "./replies";

const EVERY = 5000;

function columns(onDone: () => void): Column<PeriodicTask>[] {
  return [
    { id: "name", label: "Name", value: (of) => of.name, isTitle: true },
    { id: "state", label: "State", value: (of) => periodicState(of).word, cell: (of) => <Standing task={of} /> },
    {
      id: "when",
      label: "When",
      value: (of) => of.cron,
      cell: (of) => (
        <div class="m-stack">
          <code>{of.cron}</code>
          <span class="m-dim">{of.timezone}</span>
        </div>
      ),
    },
    {
      id: "next",
      label: "Next",
      value: (of) => of.next_at,
      cell: (of) =>
        of.next_at === null ? (
          <span class="m-dim">–</span>
        ) : (
          <time title={dateTime(of.next_at)}>{of.next_at <= now.value ? "now" : until(of.next_at, now.value)}</time>
        ),
      isNumber: true,
    },
    {
      id: "last",
      label: "Latest task",
      value: (of) => of.last?.submitted_at ?? null,
      cell: (of) => <Latest task={of} />,
    },
    {
      id: "owner",
      label: "Owner",
      value: (of) => of.owner,
      cell: (of) => (of.owner === null ? <span class="m-dim">unknown</span> : <Id id={of.owner} />),
    },
    { id: "runs", label: "Tasks", value: (of) => of.runs, cell: (of) => count(of.runs), isNumber: true },
    {
      id: "skipped",
      label: "Skipped",
      value: (of) => of.skipped,
      cell: (of) => <span class={of.skipped > 0 ? undefined : "m-zero"}>{count(of.skipped)}</span>,
      isNumber: true,
    },
    { id: "missed", label: "If missed", value: (of) => of.missed },
    {
      id: "actions",
      label: "Actions",
      value: () => null,
      cell: (of) => (
        <Button size="small" icon="play" onClick={() => void run(of.name, onDone)}>
          Run<span class="visually-hidden"> {of.name}</span>
        </Button>
      ),
      isAction: true,
    },
  ];
}

export function SchedulePage(): JSX.Element {
  const poll = useMemo(() => new Poll(getSchedule, EVERY), []);
  useEffect(() => poll.start(), [poll]);
  const table = useMemo(() => columns(() => void poll.refresh()), [poll]);
  const schedule = poll.data.value;
  const error = poll.error.value;
  if (schedule === null) {
    return error === null ? (
      <Loading what="the schedule" />
    ) : (
      <Notice kind="error" title="The schedule can’t be read">
        {messageOf(error)}
      </Notice>
    );
  }
  const { configured, tasks } = schedule;
  return (
    <section class="m-section" aria-label="Schedule">
      <div class="m-section-head">
        <h2>{plural(tasks.length, "periodic task")}</h2>
        {configured && <span class="m-dim">of the file that SCHEDULE_FILE names at this gateway</span>}
      </div>
      <DataTable
        label="Periodic tasks"
        columns={table}
        rows={tasks}
        id={(task) => task.name}
        filter={tasks.length > 5 ? "Filter by name, owner or state" : undefined}
        empty={
          <Empty title={configured ? "The schedule has no tasks" : "This gateway has no schedule"}>
            {configured
              ? "Add one to the file, then send SIGHUP to the gateways."
              : "SCHEDULE_FILE names a file of tasks that are submitted at times of cron expressions."}
          </Empty>
        }
      />
    </section>
  );
}

function Standing({ task }: { task: PeriodicTask }): JSX.Element {
  return (
    <div class="m-stack">
      <span>
        <StateBadge state={periodicState(task)} />
      </span>
      {task.problem !== null && <span class="m-bad">{task.problem}</span>}
    </div>
  );
}

function Latest({ task: { last } }: { task: PeriodicTask }): JSX.Element {
  if (last === null) return <span class="m-dim">none</span>;
  return (
    <div class="m-stack">
      <span class="m-buttons">
        <a href={hrefOf("monitor", "tasks", last.task_id)}>
          <time title={dateTime(last.submitted_at)}>{age(now.value - last.submitted_at)} ago</time>
        </a>
        {last.manual && <span class="m-dim">by an operator</span>}
      </span>
      {last.status === null ? (
        <span class="m-dim">its result has expired</span>
      ) : (
        <span>
          <StateBadge state={taskState(last.status)} />
        </span>
      )}
    </div>
  );
}

async function run(name: string, onDone: () => void): Promise<void> {
  const isSure = await ask({
    title: `Run ${name} now?`,
    text: "A task is submitted at once. The next time of the schedule stays as it is.",
    action: "Run",
  });
  if (!isSure) return;
  // It is shown here: its page needs a key of its owner.
  await act(
    () => runPeriodic(name),
    (made) => `Submitted as task ${made.task_id}.`,
  );
  onDone();
}
