/** Tasks that used up their attempts: what ended them, and what to do about them. */

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { goTo } from "../state/route";
import { Button } from "../ui/button";
import { Empty, Notice } from "../ui/notice";
import { deleteDeadLetter, getDeadLetters, purgeDeadLetters, replayDeadLetter } from "./api";
import { type Column, DataTable } from "./data-table";
import { DeadLetterView } from "./dead-letter-view";
import { age, dateTime, plural } from "./format";
import { now, overview } from "./live";
import { act, ask, Id, Loading, messageOf } from "./parts";
import { Poll } from "./poll";
import type { DeadLetter } from "./replies";

/** The list is read again when the overview counts another number of letters, and this often anyway. */
const EVERY = 60_000;
/** The most that the server keeps. */
const MOST = 1000;

async function allLetters(abort: AbortSignal): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  let before: number | null = null;
  do {
    const page = await getDeadLetters(before, abort);
    letters.push(...page.dead_letters);
    before = page.next_before;
  } while (before !== null && letters.length < MOST);
  return letters;
}

function columns(onDone: () => void): Column<DeadLetter>[] {
  return [
    {
      id: "task",
      label: "Task",
      value: (of) => of.task_id,
      cell: (of) => <Id id={of.task_id} isWhole />,
      isTitle: true,
    },
    { id: "model", label: "Model", value: (of) => of.model },
    {
      id: "error",
      label: "Error",
      value: (of) => `${of.error_type} ${of.error_message}`,
      cell: (of) => (
        <div class="m-stack m-error-cell">
          <span class="m-bad">{of.error_type}</span>
          <span class="m-dim m-clip">{of.error_message}</span>
        </div>
      ),
    },
    { id: "attempts", label: "Attempts", value: (of) => of.failures.length, isNumber: true },
    {
      id: "died",
      label: "Died",
      value: (of) => of.died_at,
      cell: (of) => <time title={dateTime(of.died_at)}>{age(now.value - of.died_at)} ago</time>,
      isNumber: true,
    },
    {
      id: "actions",
      label: "Actions",
      value: () => null,
      cell: (of) => <LetterActions letter={of} onDone={onDone} />,
      isAction: true,
    },
  ];
}

export function DeadLettersPage({ path }: { path: string[] }): JSX.Element {
  const poll = useMemo(() => new Poll(allLetters, EVERY), []);
  const counted = overview.data.value?.dead_letters;
  useEffect(() => poll.start(), [poll]);
  useEffect(() => {
    if (counted !== undefined && poll.data.peek() !== null) void poll.refresh();
  }, [poll, counted]);
  const [model, setModel] = useState("");
  const refresh = () => {
    void poll.refresh();
    void overview.refresh();
  };
  const letters = poll.data.value;
  const error = poll.error.value;
  const openId = path[0] ?? null;
  const table = useMemo(() => columns(refresh), [poll]);
  if (letters === null) {
    return error === null ? (
      <Loading what="the dead letters" />
    ) : (
      <Notice kind="error" title="The dead letters can’t be read">
        {messageOf(error)}
      </Notice>
    );
  }
  const models = [...new Set(letters.map((letter) => letter.model))].sort();
  const chosen = models.includes(model) ? model : "";
  const shown = letters.filter((letter) => chosen === "" || letter.model === chosen);
  const openLetter = letters.find((letter) => letter.task_id === openId);
  return (
    <section class="m-section" aria-label="Dead letters">
      <div class="m-section-head">
        <h2>{plural(letters.length, "dead letter")}</h2>
        <span class="m-dim">
          tasks that used up their attempts; kept for 7 days, {MOST.toLocaleString("en-US")} at most
        </span>
      </div>
      {openId !== null && (
        <DeadLetterView
          key={openId}
          taskId={openId}
          actions={openLetter && <LetterActions letter={openLetter} onDone={refresh} />}
          onClose={() => goTo(["monitor", "dead-letters"])}
        />
      )}
      <DataTable
        label="Dead letters"
        columns={table}
        rows={shown}
        id={(letter) => letter.task_id}
        filter={letters.length > 0 ? "Filter by task, model or error" : undefined}
        openId={openId}
        onOpen={(letter) => goTo(["monitor", "dead-letters", letter.task_id])}
        tools={
          letters.length > 0 && (
            <>
              {models.length > 1 && (
                <select
                  class="input select m-compact"
                  aria-label="Model of the dead letters"
                  value={chosen}
                  onChange={(event) => setModel(event.currentTarget.value)}
                >
                  <option value="">all models</option>
                  {models.map((name) => (
                    <option key={name} value={name}>
                      {name}
                    </option>
                  ))}
                </select>
              )}
              <span class="m-spring" />
              <Button size="small" icon="trash" onClick={() => void purge(chosen, shown.length, refresh)}>
                {chosen === "" ? "Purge all" : `Purge those of ${chosen}`}
              </Button>
            </>
          )
        }
        empty={
          <Empty title="No dead letters">
            A task that fails for good with out_of_memory, engine_error, worker_lost or unreadable_record would be here,
            with the error of each attempt, to be replayed once the cause is fixed.
          </Empty>
        }
      />
    </section>
  );
}

function LetterActions({ letter, onDone }: { letter: DeadLetter; onDone: () => void }): JSX.Element {
  const id = letter.task_id;
  const replay = async () => {
    const isSure = await ask({
      title: "Replay this task?",
      text: `Task ${id} is submitted again as a new one of the same owner, and its dead letter is removed.`,
      action: "Replay",
    });
    if (!isSure) return;
    const reply = await act(
      () => replayDeadLetter(id),
      (replayed) => `Replayed as task ${replayed.task_id}. Send its owner the new id.`,
    );
    onDone();
    if (reply) goTo(["monitor", "tasks", reply.task_id]);
  };
  const remove = async () => {
    const isSure = await ask({
      title: "Delete this dead letter?",
      text: `The dead letter of task ${id} is deleted for good and can’t be replayed any more.`,
      action: "Delete",
      isDanger: true,
    });
    if (!isSure) return;
    await act(() => deleteDeadLetter(id), "The dead letter is deleted.");
    onDone();
  };
  return (
    <span class="m-buttons">
      <Button size="small" icon="refresh" onClick={() => void replay()}>
        Replay<span class="visually-hidden"> {id}</span>
      </Button>
      <Button size="small" variant="ghost" icon="trash" onClick={() => void remove()}>
        Delete<span class="visually-hidden"> {id}</span>
      </Button>
    </span>
  );
}

async function purge(model: string, shown: number, onDone: () => void): Promise<void> {
  const which = model === "" ? "all models" : model;
  const letters = plural(shown, "dead letter");
  const isSure = await ask({
    title: `Purge ${letters} of ${which}?`,
    text: `${letters} of ${which}, and any that come meanwhile, are deleted for good and can’t be replayed any more.`,
    action: `Purge ${letters}`,
    isDanger: true,
  });
  if (!isSure) return;
  await act(
    () => purgeDeadLetters(model === "" ? null : model),
    ({ deleted }) => `${plural(deleted, "dead letter is", "dead letters are")} deleted.`,
  );
  onDone();
}
