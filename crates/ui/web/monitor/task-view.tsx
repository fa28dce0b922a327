/** One task: its state, its life as a chart of bars, its events, its answer. */

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError } from "../api/errors";
import type { Role } from "../state/keys";
import { Button } from "../ui/button";
import { KeyDialog } from "../ui/key-gate";
import { Notice } from "../ui/notice";
import { eventLines } from "./event-lines";
import { clock, count, dateTime, duration } from "./format";
import { now } from "./live";
import { Lookup, type Status } from "./lookup";
import { act, ask, Fact, Facts, Id, Loading, messageOf, StateBadge } from "./parts";
import { taskState } from "./queue-state";
import { listed } from "./task-list";
import { isEnd, timeline, timelineOf } from "./timeline";
import { TimelineChart } from "./timeline-chart";

const CLIENT: Role = "client";

export function TaskView({ taskId }: { taskId: string }): JSX.Element {
  const [round, setRound] = useState(0);
  const lookup = useMemo(() => new Lookup(taskId), [taskId, round]);
  useEffect(() => {
    void lookup.start();
    return () => lookup.stop();
  }, [lookup]);
  const again = () => setRound(round + 1);

  const status = lookup.status.value;
  const error = lookup.error.value;
  if (error !== null) {
    return (
      <>
        <Listed taskId={taskId} />
        <Failure error={error} onAgain={again} />
      </>
    );
  }
  if (status === null) return <Loading what="the task" />;
  return (
    <section class="m-section" aria-label={`Task ${taskId}`}>
      <Head lookup={lookup} status={status} />
      {!lookup.isConnected.value && (
        <Notice kind="warning" title="The connection is lost">
          The events go on where they ended as soon as the server answers.
        </Notice>
      )}
      <Life lookup={lookup} />
      <Outcome lookup={lookup} />
    </section>
  );
}

function Head({ lookup, status }: { lookup: Lookup; status: Status }): JSX.Element {
  const last = lookup.events.value.at(-1)?.event;
  const hasEnded = isEnd(status.status) || isEnd(last ?? "");
  const word = last && isEnd(last) ? last : last === "started" || last === "token" ? "processing" : status.status;
  const cancel = async () => {
    const isSure = await ask({
      title: "Cancel this task?",
      text: `Task ${lookup.taskId} ends as cancelled, and what it has computed so far is lost.`,
      action: "Cancel the task",
      isDanger: true,
    });
    if (isSure)
      await act(
        () => lookup.cancel(),
        (message) => message,
      );
  };
  return (
    <>
      <div class="m-section-head">
        <h2 class="m-mono">
          <Id id={lookup.taskId} isWhole />
        </h2>
        <StateBadge state={taskState(word)} />
        <span class="m-spring" />
        {!hasEnded && (
          <Button size="small" icon="stop" onClick={() => void cancel()}>
            Cancel the task
          </Button>
        )}
      </div>
      <Facts>
        <Fact name="Model">{status.model ?? "–"}</Fact>
        {!hasEnded && status.queue_position !== undefined && (
          <Fact name="Place in the queue">{count(status.queue_position)}</Fact>
        )}
        {!hasEnded && status.eta_seconds && (
          <Fact name="Likely to end in">
            {`${duration(status.eta_seconds.low)} to ${duration(status.eta_seconds.high)}`}
          </Fact>
        )}
        {Object.entries(status.metadata ?? {}).map(([name, value]) => (
          <Fact key={name} name={name}>
            {value}
          </Fact>
        ))}
      </Facts>
    </>
  );
}

function Life({ lookup }: { lookup: Lookup }): JSX.Element {
  const events = lookup.events.value;
  const seenEnd = lookup.seenEnd.value;
  const hasEnded = isEnd(events.at(-1)?.event ?? "");
  // The clock moves on only until the end.
  const life = timeline(events, hasEnded ? 0 : now.value, seenEnd);
  const start = life.queuedAt ?? life.attempts[0]?.startedAt ?? null;
  return (
    <>
      <div class="m-card">
        <h3>Timeline</h3>
        <TimelineChart life={life} />
      </div>
      <div class="m-card">
        <h3>Events</h3>
        {life.isCut && <p class="m-dim">Earlier events of this long answer are not kept.</p>}
        <ol class="m-events">
          {eventLines(events).map((line) => (
            <li key={line.id}>
              <span class="m-dim m-mono" title={line.at === null ? undefined : dateTime(line.at)}>
                {line.at === null ? "" : clock(line.at)}
              </span>
              <span class="m-dim m-number">
                {line.at !== null && start !== null ? `+${duration((line.at - start) / 1000)}` : ""}
              </span>
              <span class={line.isBad ? "m-bad" : "m-strong"}>{line.name}</span>
              <span>{line.text}</span>
            </li>
          ))}
        </ol>
      </div>
    </>
  );
}

function Outcome({ lookup }: { lookup: Lookup }): JSX.Element | null {
  const result = lookup.result.value;
  if (result === null) return null;
  const { metrics } = result;
  return (
    <div class="m-card">
      <h3>Result</h3>
      {metrics && (
        <Facts>
          <Fact name="Waited">{duration(metrics.queue_wait_time ?? Number.NaN)}</Fact>
          <Fact name="Processed in">{duration(metrics.processing_time ?? Number.NaN)}</Fact>
          <Fact name="Prompt">{`${count(metrics.prompt_tokens ?? 0)} tokens`}</Fact>
          <Fact name="Found in the cache">{`${count(metrics.cached_tokens ?? 0)} tokens`}</Fact>
          <Fact name="Generated">{`${count(metrics.completion_tokens ?? 0)} tokens`}</Fact>
          <Fact name="Speed">{`${(metrics.tokens_per_second ?? 0).toFixed(1)} tokens/s`}</Fact>
          {result.finish_reason && <Fact name="Finish reason">{result.finish_reason}</Fact>}
        </Facts>
      )}
      {result.error_type && (
        <Notice kind="error" title={result.error_type}>
          {result.error_message ?? ""}
        </Notice>
      )}
      {result.result !== undefined && (
        <details class="m-details">
          <summary>Answer</summary>
          <pre class="m-text">{result.result}</pre>
        </details>
      )}
    </div>
  );
}

/** What the listing says about a task that no key of this page opens. */
function Listed({ taskId }: { taskId: string }): JSX.Element | null {
  const task = listed.value.get(taskId);
  if (task === undefined) return null;
  return (
    <section class="m-section" aria-label={`Task ${taskId}`}>
      <div class="m-section-head">
        <h2 class="m-mono">
          <Id id={taskId} isWhole />
        </h2>
        <StateBadge state={taskState(task.status)} />
      </div>
      <Facts>
        <Fact name="Model">{task.model}</Fact>
        <Fact name="Owner">{task.tenant}</Fact>
        <Fact name="Lane">{task.lane}</Fact>
        {task.user_id !== null && <Fact name="User">{task.user_id}</Fact>}
        <Fact name="Submitted">{dateTime(task.submitted_at)}</Fact>
        {task.run_at !== undefined && <Fact name="Due">{dateTime(task.run_at)}</Fact>}
      </Facts>
      <div class="m-card">
        <h3>Timeline</h3>
        <TimelineChart life={timelineOf(task, now.value)} />
      </div>
    </section>
  );
}

function Failure({ error, onAgain }: { error: unknown; onAgain: () => void }): JSX.Element {
  const [asksKey, setAsksKey] = useState(false);
  const isAboutKeys = error instanceof ApiError && [401, 403, 404].includes(error.status);
  return (
    <>
      <Notice
        kind={isAboutKeys ? "warning" : "error"}
        title="The task’s events and its answer can’t be shown"
        actions={
          <>
            {isAboutKeys && (
              <Button size="small" icon="key" onClick={() => setAsksKey(true)}>
                Enter a client’s key
              </Button>
            )}
            <Button size="small" icon="refresh" onClick={onAgain}>
              Try again
            </Button>
          </>
        }
      >
        {messageOf(error)}
      </Notice>
      {asksKey && (
        <KeyDialog
          role={CLIENT}
          onClose={() => {
            setAsksKey(false);
            onAgain();
          }}
        />
      )}
    </>
  );
}
